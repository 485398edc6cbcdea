"""Checks and accepts WebSocket upgrades: RFC 6455 §4.2, with WebSockAdapter's error sentences."""

from base64 import b64encode
from hashlib import sha1

from tornado.httputil import HTTPHeaders

from mesh.gateway.http.upgrade_request import Headers

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def problem(headers: HTTPHeaders | Headers) -> str | None:
    """Return why these headers cannot upgrade, or None if they can."""
    if "host" not in headers:
        return "'host' header is absent"
    for header, needle in (("connection", "upgrade"), ("upgrade", "websocket")):
        values = headers.get_list(header)
        tokens = [token.strip().lower() for value in values for token in value.split(",")]
        if needle not in tokens:
            return f"'{header}' header must contain '{needle}', got {_inspect(values)}"
    if "sec-websocket-key" not in headers:
        return "'sec-websocket-key' header is absent"
    versions = headers.get_list("sec-websocket-version")
    if versions != ["13"]:
        return f"'sec-websocket-version' header must equal '13', got {_inspect(versions)}"
    return None


def response(headers: HTTPHeaders | Headers, subprotocol: str | None = None) -> bytes:
    """Return the 101 response that accepts the upgrade."""
    key = headers["sec-websocket-key"].encode("latin-1")
    accept = b64encode(sha1(key + _GUID, usedforsecurity=False).digest())
    protocol = f"Sec-WebSocket-Protocol: {subprotocol}\r\n" if subprotocol else ""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + protocol.encode() + b"\r\n"
    )


def _inspect(values: list[str]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
