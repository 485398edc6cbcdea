"""The presences of a worker: what Presence asks of it, and the diffs its members are sent."""
