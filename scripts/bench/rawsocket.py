"""A minimal, blocking WebSocket client that carries thousands of channels and only counts messages.

It sends frames with an all-zero mask, which saves the masking.
"""

import select
import socket
import time
from collections.abc import Sequence

JOIN_BATCH = 200
"""Joins sent before their replies are awaited."""


class RawSocket:
    """One connection in the V2 JSON protocol. Raises RuntimeError if it is not accepted."""

    def __init__(self, host: str) -> None:
        name, _, port = host.rpartition(":")
        self._socket = socket.create_connection((name, int(port)), timeout=30)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = bytearray()
        self._socket.sendall(
            f"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._received:
            self.read()
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise RuntimeError(f"upgrade refused: {head[:60]!r}")
        self._received = bytearray(rest)

    def fileno(self) -> int:
        """Return the descriptor, for select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def join(self, topics: Sequence[str]) -> None:
        """Join all these topics. Raises RuntimeError if one is refused."""
        for first in range(0, len(topics), JOIN_BATCH):
            batch = topics[first : first + JOIN_BATCH]
            self._send(f'["1","1","{topic}","phx_join",{{}}]' for topic in batch)
            joined = 0
            while joined < len(batch):
                self.read()
                for message in self.messages():
                    if b'"status":"ok"' not in message:
                        raise RuntimeError(f"join refused: {message[:200]!r}")
                    joined += 1

    def publish(self, topic: str, size: int = 100) -> None:
        """Push a new_msg of about `size` bytes."""
        self.push(topic, "new_msg", f'{{"d":"{"x" * (size - 8)}"}}')

    def push(self, topic: str, event: str, payload: str) -> None:
        """Push, without a ref; the payload is JSON."""
        self._send([f'["1",null,"{topic}","{event}",{payload}]'])

    def send(self, message: str) -> None:
        """Send a message, which is JSON."""
        self._send([message])

    def take(self) -> int:
        """Read what has arrived, and return the number of messages."""
        if select.select([self._socket], [], [], 0)[0]:
            self.read()
        return len(self.messages())

    def messages(self) -> list[bytes]:
        """Return the complete messages that have been read."""
        found, data, at = [], self._received, 0
        while len(data) - at >= 2:
            length, head = data[at + 1], 2
            if length == 126:
                length, head = int.from_bytes(data[at + 2 : at + 4]), 4
            elif length == 127:
                length, head = int.from_bytes(data[at + 2 : at + 10]), 10
            if len(data) - at < head + length:
                break
            found.append(bytes(data[at + head : at + head + length]))
            at += head + length
        del data[:at]
        return found

    def _send(self, texts: "Sequence[str] | object") -> None:
        self._socket.sendall(b"".join(_frame(each.encode()) for each in texts))  # type: ignore[attr-defined]

    def read(self) -> None:
        """Wait for bytes, which `messages` then parses. Raises RuntimeError when the connection ends."""
        data = self._socket.recv(262_144)
        if not data:
            raise RuntimeError("the server closed the connection")
        self._received += data


def _frame(data: bytes) -> bytes:
    if len(data) < 126:
        return bytes((0x81, 0x80 | len(data))) + bytes(4) + data
    return bytes((0x81, 0x80 | 126)) + len(data).to_bytes(2) + bytes(4) + data


def take_all(sockets: Sequence[RawSocket], number: int, seconds: float) -> int:
    """Read until all sockets together have received `number` messages; return how many arrived."""
    end, taken = time.monotonic() + seconds, 0
    while taken < number and time.monotonic() < end:
        for ready in select.select(sockets, [], [], 0.1)[0]:
            taken += ready.take()
    return taken
