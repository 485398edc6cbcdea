"""A low-level ZeroMQ peer (ZMTP 3.0, NULL mechanism), with any routing id.

libzmq's own sockets refuse to claim one that starts with a zero byte.
"""

import socket

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 1 + 31)
"""RFC 23: signature, version 3.0, mechanism NULL, not as server, filler."""
SECONDS = 5.0


def peer(port: int, routing_id: bytes) -> socket.socket:
    """Connect a DEALER with this routing id. Raises OSError if nothing listens."""
    sock = socket.create_connection(("127.0.0.1", port), SECONDS)
    sock.sendall(GREETING + _ready(routing_id))
    return sock


def _ready(routing_id: bytes) -> bytes:
    properties = _property(b"Socket-Type", b"DEALER") + _property(b"Identity", routing_id)
    body = b"\x05READY" + properties
    return bytes((4, len(body))) + body


def _property(name: bytes, value: bytes) -> bytes:
    return bytes((len(name),)) + name + len(value).to_bytes(4, "big") + value
