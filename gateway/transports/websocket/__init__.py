"""The WebSocket transport: RFC 6455 over the gateway's TCP listeners."""
