"""Moves the channels of a worker that stops: a bounded number at a time, within a time limit.

For each channel, Moving is sent to its gateway, which stops sending and answers with Handover after
everything that it has sent; then the channel handles what waits, and its state is sent with Moved
(transfer.py; docs/protocol.md §3.2).
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from mesh.link import commands
from mesh.telemetry import get_logger
from mesh.worker.topic_members import Member

log = get_logger(__name__)

MAX_CONCURRENT_MOVES = 256
"""The most channels that move at a time: their messages wait, and their state is in memory three times."""


class MovableServer(Member, Protocol):
    """The server of a channel that may move."""

    def announce_move(self) -> bool:
        """Ask the gateway to send no more; return False if this channel cannot move."""

    def shut_down(self) -> None:
        """End at once; the client rejoins."""

    def take_back(self, reason: str) -> None:
        """The client of a channel that has moved was gone before that: end the channel here."""


class HandoffCoordinator:
    """The channels that are moving.

    Args:
        version: returns the version of a link.
        seconds: how long the move of one channel may take; after that the channel ends, as if it could not
            move.

    Attributes:
        started: whether the worker is stopping, so that it accepts no joins.
    """

    def __init__(self, version: Callable[[bytes], int], seconds: float) -> None:
        self.started = False
        self._version = version
        self._seconds = seconds
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_MOVES)
        self._in_progress: dict[MovableServer, asyncio.Future[None]] = {}
        self._moved: dict[bytes, dict[int, MovableServer]] = {}

    async def run(self, servers: Iterable[MovableServer], seconds: float) -> None:
        """Move all channels that can move; return when they have moved or ended, or after `seconds`."""
        self.started = True
        moves = [asyncio.create_task(self._move(each), name="channel move") for each in servers]
        if not moves:
            return
        log.debug("channels move", channels=len(moves))
        try:
            _, unfinished = await asyncio.wait(moves, timeout=seconds)
        finally:
            for task in moves:
                task.cancel()  # no effect on tasks that are done
        if unfinished:
            log.error("channels did not move in time", channels=len(unfinished), seconds=seconds)
            await asyncio.wait(unfinished)

    async def _move(self, server: MovableServer) -> None:
        async with self._slots:
            link = server.context.link
            if self._version(link) < commands.MOVES or not server.announce_move():
                return
            finished = self._in_progress[server] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._seconds):
                    await finished
            except TimeoutError:
                topic = server.context.topic
                log.error("channel did not move in time", topic=topic, seconds=self._seconds)
                server.shut_down()
            finally:
                del self._in_progress[server]

    def moved(self, server: MovableServer) -> None:
        """The state of a channel was sent; its gateway may not have received it yet."""
        self._moved.setdefault(server.context.link, {})[server.context.number] = server

    def finished(self, server: MovableServer) -> None:
        """A channel has moved, or has ended otherwise."""
        finished = self._in_progress.get(server)
        if finished is not None and not finished.done():
            finished.set_result(None)

    def take_back(self, link: bytes, number: int) -> MovableServer | None:
        """Return, once, a channel that has moved although its client was gone before its gateway knew."""
        return self._moved.get(link, {}).pop(number, None)

    def forget_moved(self, link: bytes) -> None:
        """A link has ended: channels that moved over it cannot be taken back any longer."""
        self._moved.pop(link, None)

    def forget_all_moved(self) -> None:
        """As `forget_moved`, for every link."""
        self._moved.clear()
