"""Collects the commands of one event-loop tick into one ZeroMQ message.

While ZeroMQ's queue is full, commands wait here, in order. When they exceed a number of bytes, the owner is
informed, so that it stops producing more (docs/operations.md, "Limits"), and again when half of it is left.
If a peer falls too far behind, or accepts nothing for too long, its link is ended: it would only serve
channels that are out of date.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from mesh import contexts
from mesh.link.commands import encode_batch
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

BATCH_BYTES = 1_000_000
"""A batch of this many bytes is sent before the tick ends: far below MAXMSGSIZE."""
COMMAND_BYTES = 64
"""The assumed size of a command without its payload."""
BATCH_COMMANDS = 1_024
"""A batch of this many commands is also sent before the tick ends, and then its encoded size counts:
events, topics and refs may be longer than COMMAND_BYTES, but measuring them would slow down every
command."""
RETRY_SECONDS = 0.002
BATCHES_PER_TURN = 16
"""The most batches read in one turn of the event loop: so that peers can be asked to pause in time."""


class Bounds(NamedTuple):
    """The limits of what may wait for a peer."""

    max_batches: int
    max_bytes: int
    pause_bytes: int
    max_seconds: float

    def problem(self, batches: int, size: int, seconds: float) -> str | None:
        """Return why the link must end, if nothing was accepted for `seconds`; None if it need not."""
        if batches > self.max_batches:
            return f"{batches} batches wait (link.high_water_mark)"
        if size > self.max_bytes:
            return f"{size} bytes wait (link.max_queued_bytes)"
        if seconds > self.max_seconds:
            return f"nothing accepted for {seconds:.1f} s (link.heartbeat_timeout_seconds)"
        return None


def bounds(settings: LinkSettings) -> Bounds:
    """Return the limits from the settings."""
    return Bounds(
        settings.high_water_mark,
        settings.max_queued_bytes,
        min(settings.pause_bytes, settings.max_queued_bytes),
        settings.heartbeat_timeout_seconds,
    )


class Batches:
    """The commands that are to be sent to one peer.

    Args:
        send: sends one batch; returns False if that is not possible now.
        overflow: called with the reason when the link must be ended.
        bounds: the limits of what may wait.
        placeholder: sent in place of a command that cannot be encoded.
        on_behind: called with `behind` when it changes.

    Attributes:
        behind: whether more than `bounds.pause_bytes` wait, or did and more than half of it is left.
        closed: whether the link has ended, so that nothing more is sent.
        count: the number of commands added so far.
    """

    __slots__ = (
        "_blocked_since", "_bounds", "_bytes", "_commands", "_context", "_encoded", "_encoded_bytes",
        "_next_flush", "_on_behind", "_overflow", "_placeholder", "_send", "behind", "closed", "count",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[bytes], bool],
        overflow: Callable[[str], None],
        bounds: Bounds,
        placeholder: Any = None,
        on_behind: Callable[[bool], None] | None = None,
    ) -> None:
        self.behind = False
        self.closed = False
        self.count = 0
        self._send = send
        self._overflow = overflow
        self._bounds = bounds
        self._placeholder = placeholder
        self._on_behind = on_behind
        self._commands: list[Any] = []
        self._encoded: deque[bytes] = deque()
        self._encoded_bytes = 0
        self._bytes = 0
        self._blocked_since: float | None = None
        self._next_flush: asyncio.Handle | None = None
        self._context = contexts.fresh()  # not that of the caller, which may be a channel's

    @property
    def waiting_bytes(self) -> int:
        """The bytes that ZeroMQ has not accepted yet."""
        return self._encoded_bytes + self._bytes

    def add(self, command: Any) -> None:
        """Add a command to the batch of this tick."""
        self.count += 1
        self._commands.append(command)
        self._bytes += (
            COMMAND_BYTES + len(getattr(command, "data", b"")) + len(getattr(command, "assigns", b""))
        )
        if self._bytes > BATCH_BYTES or len(self._commands) >= BATCH_COMMANDS:
            self._encode()
            if not self.behind and self.waiting_bytes > self._bounds.pause_bytes:
                self._tell(True)  # at once: callbacks could produce much more before the next flush
        if self._next_flush is None:
            self._next_flush = asyncio.get_running_loop().call_soon(self.flush, context=self._context)

    def flush(self) -> None:
        """Send all waiting commands, in order."""
        self._next_flush = None
        if self.closed:
            return
        encoded = self._encoded
        self._encode()
        while encoded:
            if not self._send(encoded[0]):
                self._blocked()
                return
            self._encoded_bytes -= len(encoded.popleft())
            self._blocked_since = None
            if not encoded and self._commands:
                self._encode()  # commands that were added while the queue was full
        if self.behind and not self.closed:
            self._tell(False)

    def _blocked(self) -> None:
        """Try again soon, or end the link if the peer is too far behind."""
        if self.closed:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._blocked_since is None:
            self._blocked_since = now
        problem = self._bounds.problem(len(self._encoded), self.waiting_bytes, now - self._blocked_since)
        if problem is not None:
            self._overflow(problem)
            return
        mark = self._bounds.pause_bytes
        if not self.behind and self.waiting_bytes > mark:
            self._tell(True)
        elif self.behind and self.waiting_bytes <= mark // 2:
            self._tell(False)
        self._next_flush = loop.call_later(RETRY_SECONDS, self.flush)

    def _tell(self, behind: bool) -> None:
        self.behind = behind
        if self._on_behind is not None:
            self._on_behind(behind)

    def _encode(self) -> None:
        """Encode a batch. While others wait, encode only full ones: fewer batches are sent faster."""
        if self._encoded and self._bytes <= BATCH_BYTES and len(self._commands) < BATCH_COMMANDS:
            return
        commands, self._commands = self._commands, []
        self._bytes = 0
        if not commands:
            return
        try:
            batches = [encode_batch(commands)]
        except Exception:  # a command that cannot be encoded must not affect the others of its batch
            batches = [self._encode_alone(command) for command in commands]
        self._encoded += batches
        self._encoded_bytes += sum(map(len, batches))

    def _encode_alone(self, command: Any) -> bytes:
        try:
            return encode_batch([command])
        except Exception as error:
            counters.count("link_commands_unencodable")
            log.error("link command dropped", command=type(command).__name__, exc_info=error)
            # The peer counts the commands: a placeholder keeps the count correct.
            return encode_batch([] if self._placeholder is None else [self._placeholder])
