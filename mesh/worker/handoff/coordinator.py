"""A worker that stops hands its channels to others: a bounded number at once, within a bounded time.

For each: Moving to its gateway, which sends no more and says so with Handover behind all it had sent; then
the channel handles what waits, and its state leaves with Moved (transfer.py; docs/protocol.md §3.2).
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from mesh.link import commands
from mesh.telemetry import get_logger
from mesh.worker.topic_members import Member

log = get_logger("mesh.channels")

AT_ONCE = 256
"""Channels under way: their clients' messages wait, and their states are in memory three times."""


class MovableServer(Member, Protocol):
    """The server of a channel, as one that may move."""

    def announce_move(self) -> bool:
        """Ask the gateway to send no more; False if this channel cannot move."""

    def shut_down(self) -> None:
        """End at once; the client joins again."""

    def take_back(self, reason: str) -> None:
        """The client of a channel that has moved was gone before that: end here."""


class HandoffCoordinator:
    """The channels that move away.

    Args:
        version: of the link protocol on a link.
        seconds: that one channel may take; then it ends as if it could not move.

    Attributes:
        begun: whether the worker stops: it takes no more joins.
    """

    def __init__(self, version: Callable[[bytes], int], seconds: float) -> None:
        self.begun = False
        self._version = version
        self._seconds = seconds
        self._window = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[MovableServer, asyncio.Future[None]] = {}
        self._moved: dict[bytes, dict[int, MovableServer]] = {}

    async def run(self, servers: Iterable[MovableServer], seconds: float) -> None:
        """Move all that can move; returns when they have moved or ended, at the latest after `seconds`."""
        self.begun = True
        moves = [asyncio.create_task(self._move(each), name="channel move") for each in servers]
        if not moves:
            return
        log.debug("channels move", channels=len(moves))
        try:
            _, late = await asyncio.wait(moves, timeout=seconds)
        finally:
            for task in moves:
                task.cancel()  # which changes nothing for those that are done
        if late:
            log.error("channels did not move in time", channels=len(late), seconds=seconds)
            await asyncio.wait(late)

    async def _move(self, server: MovableServer) -> None:
        async with self._window:
            link = server.context.link
            if self._version(link) < commands.MOVES or not server.announce_move():
                return
            over = self._under_way[server] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._seconds):
                    await over
            except TimeoutError:
                topic = server.context.topic
                log.error("channel did not move in time", topic=topic, seconds=self._seconds)
                server.shut_down()
            finally:
                del self._under_way[server]

    def moved(self, server: MovableServer) -> None:
        """The state of a channel was sent; but its gateway may not know that yet."""
        self._moved.setdefault(server.context.link, {})[server.context.number] = server

    def over(self, server: MovableServer) -> None:
        """A channel has moved, or has ended otherwise."""
        waiting = self._under_way.get(server)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def take_back(self, link: bytes, number: int) -> MovableServer | None:
        """A channel that has moved, and whose client was gone before its gateway knew; once."""
        return self._moved.get(link, {}).pop(number, None)

    def settle(self, link: bytes) -> None:
        """The link has ended: no channel that moved over it is taken back any longer."""
        self._moved.pop(link, None)

    def settle_all(self) -> None:
        """As `settle`, for every link."""
        self._moved.clear()
