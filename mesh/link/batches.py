"""Gathers the commands of one event-loop tick into one ZeroMQ message.

A full queue on the way keeps the commands here, in order; over the bound the link is given up,
because a peer that far behind would only serve stale channels.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from mesh.link.commands import encode_batch
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.link")

BATCH_BYTES = 1_000_000
"""Payload bytes after which a batch leaves before the tick ends: far below MAXMSGSIZE."""
RETRY_SECONDS = 0.002


class Batches:
    """Commands on their way to one peer.

    Args:
        send: sends one batch; False if it cannot be sent now.
        overflow: called when more than `max_batches` wait.
        max_batches: bound of what waits.
        placeholder: sent instead of a command that cannot be encoded.

    Attributes:
        closed: whether the link is over and nothing more is sent.
        count: commands added so far.
    """

    __slots__ = (
        "_bytes", "_commands", "_encoded", "_max_batches", "_overflow", "_placeholder", "_scheduled",
        "_send", "closed", "count",
    )  # fmt: skip

    def __init__(
        self,
        send: Callable[[bytes], bool],
        overflow: Callable[[], None],
        max_batches: int,
        placeholder: Any = None,
    ) -> None:
        self.closed = False
        self.count = 0
        self._send = send
        self._overflow = overflow
        self._max_batches = max_batches
        self._placeholder = placeholder
        self._commands: list[Any] = []
        self._encoded: list[bytes] = []
        self._bytes = 0
        self._scheduled = False

    def add(self, command: Any) -> None:
        """Send `command` with this tick's batch."""
        self.count += 1
        self._commands.append(command)
        self._bytes += len(getattr(command, "data", b"")) + len(getattr(command, "assigns", b""))
        if self._bytes > BATCH_BYTES:
            self._encode()
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Send what there is, in order."""
        self._scheduled = False
        if self.closed:
            return
        self._encode()
        while self._encoded:
            if not self._send(self._encoded[0]):
                break
            self._encoded.pop(0)
        if self.closed or not self._encoded:
            return
        if len(self._encoded) > self._max_batches:
            self._overflow()
            return
        self._scheduled = True
        asyncio.get_running_loop().call_later(RETRY_SECONDS, self.flush)

    def _encode(self) -> None:
        commands, self._commands = self._commands, []
        self._bytes = 0
        if not commands:
            return
        try:
            self._encoded.append(encode_batch(commands))
        except Exception:  # a command that cannot be encoded must cost no other its batch
            self._encoded += [self._encode_alone(command) for command in commands]

    def _encode_alone(self, command: Any) -> bytes:
        try:
            return encode_batch([command])
        except Exception as error:
            counters.count("link_commands_unencodable")
            log.error("link command dropped", command=type(command).__name__, exc_info=error)
            # The peer counts what comes: something must stand in its place.
            return encode_batch([] if self._placeholder is None else [self._placeholder])
