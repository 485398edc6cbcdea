"""Reads a ZeroMQ socket in the event loop, although its file descriptor is edge-triggered.

The descriptor becomes readable only once after a change. So the socket must be read until it is empty, and
checked again after each send, which may have consumed the edge (libzmq, zmq_getsockopt(3): ZMQ_FD and
ZMQ_EVENTS).

Each message is received as Frames, which know whether another frame follows, and until none is left: asking
the socket (`getsockopt`) takes three times as long as receiving.
"""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import cast

import zmq

from mesh import contexts
from mesh.telemetry import counters, get_logger
from mesh.tick_budget import TICK_BUDGET_SECONDS

log = get_logger(__name__)

NOBLOCK = int(zmq.NOBLOCK)
MESSAGES_PER_TURN = 1024
"""The most messages in one turn of the event loop: with more, the latency of other work increases."""


class SocketReader:
    """Passes every message of a socket to `handle`; an exception in it affects only that message.

    Args:
        per_turn: the most messages in one turn of the event loop.
        budget_seconds: the longest time in one turn of the event loop.
        on_behind: called with `behind` when it changes.

    Attributes:
        behind: whether messages were left unread in the last turn.
    """

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        handle: Callable[[list[bytes]], None],
        per_turn: int = MESSAGES_PER_TURN,
        budget_seconds: float = TICK_BUDGET_SECONDS,
        on_behind: Callable[[bool], None] | None = None,
    ) -> None:
        self.behind = False
        self._on_behind = on_behind
        self._per_turn = per_turn
        self._budget_seconds = budget_seconds
        self._socket = socket
        self._handle = handle
        self._descriptor = int(socket.getsockopt(zmq.FD))
        self._loop = asyncio.get_running_loop()
        self._next_turn: asyncio.Handle | None = None
        self._closed = False
        self._context = contexts.fresh()  # not that of the caller, which may be a channel's

    def start(self) -> None:
        """Begin to read."""
        self._loop.add_reader(self._descriptor, self._readable)
        self.read_soon()

    def close(self) -> None:
        """Stop reading. Must be called before the socket is closed."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._descriptor)

    def read_soon(self) -> None:
        """Read soon, regardless of the descriptor: after each attempt to send on the same socket.

        A failed attempt also processes the socket's events and may have consumed the edge.
        """
        if self._next_turn is None:
            self._next_turn = self._loop.call_soon(self._read_batch, context=self._context)

    def read_soon_if_any(self) -> None:
        """As `read_soon`, but only if something has arrived, which saves a turn of the event loop.

        Asking costs a system call, so this is for sockets on which little is sent in one turn.
        """
        if self._next_turn is None and cast(int, self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            self.read_soon()

    def read_now(self) -> None:
        """Read everything that has arrived, at once: before closing a socket whose peer is gone."""
        self._read_batch()
        while self.behind and not self._closed:
            self._read_batch()

    def _readable(self) -> None:
        if self._next_turn is None:  # otherwise a read is scheduled, or this turn's share is used up
            self._read_batch()

    def _read_batch(self) -> None:
        self._next_turn = None
        if self._closed:
            return
        receive, handle = self._socket.recv, self._handle
        end = perf_counter() + self._budget_seconds
        for _ in range(self._per_turn):
            try:
                frame = receive(NOBLOCK, False)
            except zmq.Again:
                if self.behind:
                    self._set_behind(False)
                return
            frames = [frame.bytes]
            while frame.more:
                frame = receive(NOBLOCK, False)
                frames.append(frame.bytes)
            try:
                handle(frames)
            except Exception as error:  # must not affect the messages after it
                counters.count("handlers_failed")
                log.error("handling a message failed", exc_info=error)
            if self._closed:
                return  # closed by the handler
            if perf_counter() > end:
                break
        if not self.behind:
            self._set_behind(True)
        self.read_soon()

    def _set_behind(self, behind: bool) -> None:
        self.behind = behind
        if self._on_behind is not None:
            self._on_behind(behind)
