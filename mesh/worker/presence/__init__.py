"""The presences of a worker: what Presence needs from it, and the diffs that it sends to members."""
