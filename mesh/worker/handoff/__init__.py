"""How channels move from a worker that stops to another one (docs/protocol.md §3.2)."""
