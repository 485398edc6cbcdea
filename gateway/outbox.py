"""Unsent bytes of one client, bounded; flushed once per event-loop tick with one send.

What many messages queued in one tick becomes one system call: under load throughput rises instead of
latency. Bytes go straight to the socket while the kernel takes them; only what it does not take
makes the outbox wait for the socket to become writable.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantWriteError, ssl.SSLWantReadError)


class Flusher:
    """Flushes the outboxes that got something in this tick."""

    __slots__ = ("_dirty", "_loop")

    def __init__(self) -> None:
        self._dirty: list[Outbox] = []
        self._loop = asyncio.get_running_loop()

    def add(self, outbox: "Outbox") -> None:
        """Flush `outbox` at the end of this tick."""
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(outbox)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for outbox in dirty:
            if not outbox.blocked:
                outbox.flush()


class Outbox:
    """What waits to be sent to one client.

    Args:
        flusher: of the gateway.
        sock: non-blocking, connected.
        max_unsent_bytes: bound of what the kernel has not taken.
        on_overflow: called once when it is passed; the client reads too slowly.
        on_error: called when the connection is broken.

    Attributes:
        blocked: whether it waits for the socket to become writable.
        closed: whether nothing more is sent.
    """

    __slots__ = (
        "_chunks", "_flusher", "_max_unsent_bytes", "_on_error", "_on_overflow",
        "_sock", "_unsent_bytes", "blocked", "closed",
    )  # fmt: skip

    def __init__(
        self,
        flusher: Flusher,
        sock: socket.socket,
        max_unsent_bytes: int,
        on_overflow: Callable[[int], None],
        on_error: Callable[[], None],
    ) -> None:
        self.closed = False
        self._flusher = flusher
        self._sock = sock
        self._max_unsent_bytes = max_unsent_bytes
        self._on_overflow = on_overflow
        self._on_error = on_error
        self._chunks: list[bytes] = []
        self.blocked = False
        self._unsent_bytes = 0

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken."""
        return self._unsent_bytes

    @property
    def empty(self) -> bool:
        """Whether the kernel has taken everything."""
        return not self._chunks

    def send(self, frame: bytes) -> None:
        """Queue the bytes of one ready frame."""
        chunks = self._chunks
        if not chunks:
            if self.closed:
                return
            self._flusher.add(self)
        elif self.blocked:
            self._unsent_bytes += len(frame)
            if self._unsent_bytes > self._max_unsent_bytes:
                self._overflow()
                return
        chunks.append(frame)

    def discard(self) -> None:
        """Drop everything; nothing more is sent."""
        if self.blocked:
            self._unblock()
        self.closed = True
        self._chunks = []

    def flush(self) -> None:
        """Send what there is, as far as the kernel takes it."""
        chunks = self._chunks
        if not chunks:
            return
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            sent = self._sock.send(data)
        except WOULD_BLOCK:
            sent = 0
        except OSError:
            self.discard()
            self._on_error()
            return
        if sent == len(data):
            chunks.clear()
            if self.blocked:
                self._unblock()
        else:
            self._block(data[sent:])

    def _block(self, rest: bytes) -> None:
        self._chunks = [rest]
        self._unsent_bytes = len(rest)
        if not self.blocked:
            self.blocked = True
            asyncio.get_running_loop().add_writer(self._sock.fileno(), self.flush)
        if self._unsent_bytes > self._max_unsent_bytes:
            self._overflow()

    def _unblock(self) -> None:
        self.blocked = False
        self._unsent_bytes = 0
        asyncio.get_running_loop().remove_writer(self._sock.fileno())

    def _overflow(self) -> None:
        unsent = self._unsent_bytes
        self.discard()
        self._on_overflow(unsent)
