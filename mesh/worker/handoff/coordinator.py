"""A worker that stops gives its channels away, as many at once as the others can take.

For each: Moving to its gateway, which sends no more and says so with Handover behind all it had sent; then
the channel handles what waits, and its state leaves with Moved (docs/protocol.md §3.2).
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from mesh.link import commands
from mesh.telemetry import get_logger

if TYPE_CHECKING:
    from mesh.worker.channel.server import ChannelServer

log = get_logger("mesh.channels")

AT_ONCE = 256
"""Channels under way: their clients' messages wait, and their states are in memory three times."""


class HandoffCoordinator:
    """The channels that move away.

    Args:
        version: of the link protocol on a link.
        seconds: one channel may take, then it ends as if it could not move.

    Attributes:
        begun: whether the worker stops: it takes no more joins.
    """

    def __init__(self, version: Callable[[bytes], int], seconds: float) -> None:
        self.begun = False
        self._version = version
        self._seconds = seconds
        self._window = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[ChannelServer, asyncio.Future[None]] = {}
        self._gone: dict[bytes, dict[int, ChannelServer]] = {}

    async def run(self, servers: Iterable["ChannelServer"], seconds: float) -> None:
        """Move all that can move; returns when they are gone, at the latest after so many seconds."""
        self.begun = True
        moves = [asyncio.create_task(self._move(each), name="channel move") for each in servers]
        if not moves:
            return
        log.debug("channels move", channels=len(moves))
        _, late = await asyncio.wait(moves, timeout=seconds)
        for task in late:
            task.cancel()
        if late:
            log.error("channels did not move in time", channels=len(late), seconds=seconds)
            await asyncio.wait(late)

    async def _move(self, server: "ChannelServer") -> None:
        async with self._window:
            if self._version(server.link) < commands.MOVES or not server.begin_move():
                return
            over = self._under_way[server] = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(self._seconds):
                    await over
            except TimeoutError:
                log.error("channel did not move in time", topic=server.topic, seconds=self._seconds)
                server.shut_down()
            finally:
                del self._under_way[server]

    def moved(self, server: "ChannelServer") -> None:
        """It has gone; but its gateway may not know yet."""
        self._gone.setdefault(server.link, {})[server.number] = server

    def over(self, server: "ChannelServer") -> None:
        """It has gone, or has ended otherwise."""
        waiting = self._under_way.get(server)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def take_back(self, link: bytes, number: int) -> "ChannelServer | None":
        """A channel that has gone, and whose client was gone before its gateway knew; once."""
        return self._gone.get(link, {}).pop(number, None)

    def settle(self, link: bytes) -> None:
        """The link has ended: nothing that went over it is taken back any longer."""
        for server in self._gone.pop(link, {}).values():
            server.let_go()

    def settle_all(self) -> None:
        """As `settle`, for every link."""
        for link in list(self._gone):
            self.settle(link)
