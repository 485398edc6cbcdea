"""What the tests share: a raw WebSocket client, real processes, waiting for conditions."""
