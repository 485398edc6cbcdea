"""WebSocket clients: RFC 6455 over the gateway's TCP listeners."""
