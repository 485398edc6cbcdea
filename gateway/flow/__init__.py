"""Flow control: queues of slow clients and their limits, rate limits, pauses."""
