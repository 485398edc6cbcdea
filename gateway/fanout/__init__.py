"""From a broadcast to the outboxes of a topic's members."""
