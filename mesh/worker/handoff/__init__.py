"""How channels move from a worker that stops to another worker (docs/protocol.md §3.2)."""
