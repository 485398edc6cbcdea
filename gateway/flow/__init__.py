"""What waits for a client, how much of it may, and who is paused meanwhile."""
