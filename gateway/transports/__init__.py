"""The transports by which clients reach a gateway."""
