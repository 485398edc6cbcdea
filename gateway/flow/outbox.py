"""The unsent bytes of one client, bounded, and flushed once per event-loop tick with one `send`.

The messages of one tick share one system call, so that under load throughput rises instead of latency.
Bytes go straight to the socket while the kernel accepts them. Otherwise the outbox waits for the socket to
become writable, and the policies of Channel classes apply to what waits (gateway/flow/backlog.py).
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from time import perf_counter

from mesh.gateway.fanout.delivery_stats import CLIENT_GONE, SLOW_CLIENT
from mesh.gateway.flow.backlog import Backlog, count_lost
from mesh.gateway.flow.watermark import HighWatermark
from mesh.tick_budget import TICK_BUDGET_SECONDS

WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
TLS_RECORD_BYTES = 16_384
"""OpenSSL has encrypted this much of what it could not send; the same bytes must be passed to it again."""
CATCH_UP_BYTES = 262_144
"""The most bytes joined for one send to a client that is behind; the kernel accepts no more anyway."""
_BLOCKED_CHUNKS = [b""]
FLUSHES_PER_CLOCK_CHECK = 32
"""Outboxes flushed between two checks of the clock."""


def _ignore(*_: int) -> None:
    """Takes the place of a discarded outbox's callbacks."""


class Flusher:
    """Flushes the outboxes written to in this tick; very many are spread over several ticks."""

    __slots__ = ("_dirty", "_loop", "_scheduled")

    def __init__(self) -> None:
        self._dirty: list[Outbox] = []
        self._loop = asyncio.get_running_loop()
        self._scheduled = False

    def add(self, outbox: "Outbox") -> None:
        """Flush `outbox` at the end of this tick."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush_within_budget)
        self._dirty.append(outbox)

    def flush(self) -> None:
        """Flush all outboxes now, so that what is not sent afterwards counts as waiting."""
        dirty, self._dirty = self._dirty, []
        for outbox in dirty:
            if not outbox.blocked:
                outbox.flush()

    def _flush_within_budget(self) -> None:
        dirty, self._dirty = self._dirty, []
        end = perf_counter() + TICK_BUDGET_SECONDS
        for number, outbox in enumerate(dirty, 1):
            if not outbox.blocked:
                outbox.flush()
            if number % FLUSHES_PER_CLOCK_CHECK == 0 and perf_counter() > end:
                break
        else:
            number = len(dirty)
        # The remaining outboxes come before those added in the meantime.
        self._dirty = dirty[number:] + self._dirty
        self._scheduled = bool(self._dirty)
        if self._scheduled:
            self._loop.call_soon(self._flush_within_budget)


class Outbox:
    """The queue of frames to one client.

    Args:
        flusher: the gateway's flusher.
        sock: a connected, non-blocking socket.
        max_unsent_bytes: the limit of bytes that the kernel has not accepted.
        on_overflow: called once, with the unsent bytes, when the limit is exceeded.
        on_error: called when the connection is broken.
        on_dropped: called at the end of a stall with the number of dropped broadcasts by reason, if any.

    Attributes:
        blocked: whether it waits for the socket to become writable.
        closed: whether nothing more is sent.
        watermark: updated with the unsent bytes while the kernel does not accept everything.
    """

    __slots__ = (
        "_backlog", "_chunks", "_flusher", "_lost_reason", "_max_unsent_bytes", "_on_dropped",
        "_on_error", "_on_overflow", "_sock", "blocked", "closed", "watermark",
    )  # fmt: skip

    def __init__(
        self,
        flusher: Flusher,
        sock: socket.socket,
        max_unsent_bytes: int,
        on_overflow: Callable[[int], None],
        on_error: Callable[[], None],
        on_dropped: Callable[[Counter[str]], None] | None = None,
    ) -> None:
        self.closed = False
        self.watermark: HighWatermark | None = None
        self._flusher = flusher
        self._sock = sock
        self._max_unsent_bytes = max_unsent_bytes
        self._on_overflow = on_overflow
        self._on_error = on_error
        self._on_dropped = on_dropped
        self._chunks: list[bytes] = []
        self._backlog: Backlog[bytes] | None = None
        self._lost_reason = CLIENT_GONE
        self.blocked = False

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait because the kernel has not accepted them."""
        return self._backlog.size if self._backlog is not None else 0

    @property
    def empty(self) -> bool:
        """Whether the kernel has accepted everything."""
        return not self._chunks

    def send(self, frame: bytes) -> None:
        """Queue the bytes of one ready frame."""
        chunks = self._chunks
        if not chunks:
            if self.closed:
                count_lost(frame, self._lost_reason)
                return
            self._flusher.add(self)
        elif self.blocked:
            self._queue(frame)
            return
        chunks.append(frame)

    def discard(self, reason: str = CLIENT_GONE) -> None:
        """Drop everything, send nothing more and call no callback. The first reason given counts."""
        if self.closed:
            return
        self.closed = True
        self._lost_reason = reason
        backlog = self._backlog
        if backlog is None:
            for frame in self._chunks:
                count_lost(frame, reason)
        else:
            backlog.clear(reason)
            self._end_stall(backlog)
        self._chunks = []
        # They refer to the connection, which refers to this outbox: break the reference cycle.
        self._on_overflow = self._on_error = _ignore
        self._on_dropped = None

    def flush(self) -> None:
        """Send what is queued, as far as the kernel accepts it."""
        if self.blocked:
            self._catch_up()
            return
        chunks = self._chunks
        if not chunks:
            return
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        try:
            sent = self._sock.send(data)
        except WOULD_BLOCK:
            self._fall_behind(0, self._committed())
        except OSError:
            self._fail()
        else:
            if sent == len(data):
                chunks.clear()
            else:
                self._fall_behind(sent, 0)

    def _committed(self) -> int:
        return TLS_RECORD_BYTES if isinstance(self._sock, ssl.SSLSocket) else 0

    def _fall_behind(self, sent: int, committed: int) -> None:
        """Keep what the kernel did not accept after the first `sent` bytes, and wait for the socket."""
        backlog = self._backlog = Backlog()
        chunks, self._chunks = self._chunks, _BLOCKED_CHUNKS
        self.blocked = True
        asyncio.get_running_loop().add_writer(self._sock.fileno(), self.flush)
        for frame in chunks:
            if sent >= len(frame):
                sent -= len(frame)
                continue
            backlog.add(frame, frame)
            if sent or committed > backlog.size - len(frame):  # partly sent, or committed
                backlog.advance(sent, committed)
            sent = 0
        self._enforce_limit(backlog)

    def _queue(self, frame: bytes) -> None:
        backlog = self._backlog
        assert backlog is not None
        backlog.add(frame, frame)
        if backlog.size > self._max_unsent_bytes:
            self._enforce_limit(backlog)
        elif self.watermark is not None:
            self.watermark.update(backlog.size)

    def _enforce_limit(self, backlog: Backlog[bytes]) -> None:
        if backlog.trim(self._max_unsent_bytes):
            if self.watermark is not None:
                self.watermark.update(backlog.size)
            return
        unsent_bytes, on_overflow = backlog.size, self._on_overflow
        self.discard(SLOW_CLIENT)
        on_overflow(unsent_bytes)

    def _catch_up(self) -> None:
        backlog = self._backlog
        assert backlog is not None
        try:
            sent = self._sock.send(backlog.data(CATCH_UP_BYTES))
        except WOULD_BLOCK:
            backlog.advance(0, self._committed())
            return
        except OSError:
            self._fail()
            return
        backlog.advance(sent)
        if not backlog:
            self._end_stall(backlog)
            self._chunks = []
        elif self.watermark is not None:
            self.watermark.update(backlog.size)

    def _end_stall(self, backlog: Backlog[bytes]) -> None:
        """End the stall."""
        self.blocked = False
        self._backlog = None
        asyncio.get_running_loop().remove_writer(self._sock.fileno())
        if self.watermark is not None:
            self.watermark.update(0)
        if backlog.dropped and self._on_dropped is not None:
            self._on_dropped(backlog.dropped)

    def _fail(self) -> None:
        on_error = self._on_error
        self.discard()
        on_error()
