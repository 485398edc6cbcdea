"""One connection of a client, from the attempt to open it to its end, in its own task."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Protocol

from mesh.client.base import Connection, ConnectionEnded
from mesh.protocol.serializers.base import Frame
from mesh.telemetry import get_logger

log = get_logger(__name__)

MAX_UNSENT_BYTES = 1_000_000
"""Above this, `push` and `cast` wait until some of it is sent."""


class Owner(Protocol):
    """Is informed of what happens to a connection, until it calls `close`."""

    def opened(self) -> None:
        """The connection is open."""

    def not_opened(self, error: Exception) -> None:
        """The connection could not be opened. This is the last call."""

    def received(self, frame: Frame) -> None:
        """A message has arrived."""

    def ended(self, ended: ConnectionEnded) -> None:
        """The connection has ended. This is the last call."""


class ConnectionTask:
    """One connection.

    Args:
        owner: is informed of what happens.
        connect: opens the connection.
        context: the context of the connection's task.

    Attributes:
        opened: whether the connection was ever open.
        task: the task that runs the connection.
    """

    def __init__(
        self, owner: Owner, connect: Callable[[], Awaitable[Connection]], context: Context
    ) -> None:
        self.opened = False
        self._owner = owner
        self._connect = connect
        self._closed = False
        self._outbox: deque[Frame] = deque()
        self._unsent_bytes = 0
        self._outbox_filled = asyncio.Event()
        self._outbox_drained = asyncio.Event()
        self._close_arguments = (1000, "")
        loop = asyncio.get_running_loop()
        self.task = loop.create_task(self._run(), name="mesh.client connection", context=context)

    async def _run(self) -> None:
        """Open the connection, transfer messages, close it."""
        try:
            connection = await self._connect()
        except Exception as error:  # of any kind, including those of the application's functions
            if not self._closed:
                self._closed = True
                self._owner.not_opened(error)
            return
        try:
            await self._transfer(connection)
        finally:
            self._outbox_drained.set()
            await connection.close(*self._close_arguments)

    async def _transfer(self, connection: Connection) -> None:
        if self._closed:
            return
        self.opened = True
        writer = asyncio.get_running_loop().create_task(self._write(connection), name="mesh.client writer")
        self._owner.opened()
        try:
            while True:
                frame = await connection.recv()
                if self._closed:
                    return
                self._owner.received(frame)
        except ConnectionEnded as ended:
            if not self._closed:
                self._closed = True
                self._owner.ended(ended)
        finally:
            writer.cancel()
            await asyncio.wait([writer])

    async def _write(self, connection: Connection) -> None:
        while True:
            while self._outbox:
                frame = self._outbox[0]
                try:
                    await connection.send(frame)
                except ConnectionEnded:
                    return  # the reader notices it too
                self._outbox.popleft()
                self._unsent_bytes -= len(frame.data)
                self._outbox_drained.set()
            self._outbox_filled.clear()
            await self._outbox_filled.wait()

    def send(self, frame: Frame) -> None:
        """Queue a message."""
        self._outbox.append(frame)
        self._unsent_bytes += len(frame.data)
        self._outbox_filled.set()

    async def wait_for_outbox(self) -> None:
        """Wait while too much is unsent."""
        while self._unsent_bytes > MAX_UNSENT_BYTES and not self._closed:
            self._outbox_drained.clear()
            await self._outbox_drained.wait()

    async def flush(self, seconds: float) -> None:
        """Wait until everything is sent, at most this many seconds."""
        try:
            async with asyncio.timeout(seconds):
                while self._outbox and self.opened and not self._closed:
                    self._outbox_drained.clear()
                    await self._outbox_drained.wait()
        except TimeoutError:
            log.warning("connection closed before all was sent", unsent_bytes=self._unsent_bytes)

    def close(self, code: int, reason: str) -> None:
        """End the connection; the owner is informed of nothing more."""
        self._closed = True
        self._close_arguments = (code, reason)
        self._outbox_drained.set()
        if self.task is not asyncio.current_task():
            self.task.cancel()
