"""Who is on which topic, replicated between workers over the bus. Presence is built on it."""
