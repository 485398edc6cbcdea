"""The presences of a worker: each Presence of the endpoint, by name; what comes for all of them."""

import asyncio
from collections.abc import Hashable, Iterable

from mesh.bus.frames import Header
from mesh.presence import Presence
from mesh.settings import PresenceSettings
from mesh.telemetry import get_logger
from mesh.tracker.tracker import Publish
from mesh.worker.handoff.state import TrackedPresence
from mesh.worker.presence.server import LocalBroadcast, PresenceServer

log = get_logger("mesh.presence")

FOLLOWED_SECONDS = 0.01
"""Between two looks whether presences that moved are tracked elsewhere."""


class PresenceRegistry:
    """All presences of a worker.

    Args:
        presences: of the endpoint.
        node: this worker's id.
        publish: onto the bus.
        settings: of presence.
        local_broadcast: to the members of a topic that this worker serves.
    """

    def __init__(
        self,
        presences: Iterable[Presence],
        node: str,
        publish: Publish,
        settings: PresenceSettings,
        local_broadcast: LocalBroadcast,
    ) -> None:
        self._servers = {
            each.name: PresenceServer(each, node, publish, settings, local_broadcast) for each in presences
        }
        for server in self._servers.values():
            server.presence.bind(server)

    @property
    def busy(self) -> bool:
        """Whether a diff is still to come."""
        return any(server.busy for server in self._servers.values())

    def topics(self) -> list[str]:
        """What the trackers must be subscribed to on the bus."""
        return [server.tracker.topic for server in self._servers.values()]

    def start(self) -> None:
        """Begin to speak to the other workers."""
        for server in self._servers.values():
            server.tracker.start()

    def close(self) -> None:
        """Say goodbye."""
        for server in self._servers.values():
            server.close()

    def handle(self, header: Header, data: bytes) -> None:
        """A message of another worker's tracker."""
        server = self._servers.get(header.event)
        if server is not None:
            server.tracker.handle(header.origin, data)

    def answer(self) -> None:
        """A gateway believes that this node died."""
        for server in self._servers.values():
            server.tracker.answer()

    def lost(self, node: str) -> None:
        """A node died, or somebody believes so."""
        for server in self._servers.values():
            server.tracker.lost(node)

    def untrack_all(self, owner: Hashable) -> None:
        """A channel ended."""
        for server in self._servers.values():
            server.untrack_all(owner)

    def tell(self) -> None:
        """Channels are about to move: where they go, all that is tracked here must be known."""
        for server in self._servers.values():
            server.tracker.tell()

    def tracked(self, owner: Hashable) -> tuple[TrackedPresence, ...]:
        """All that `owner` tracks."""
        return tuple(
            TrackedPresence(name, *each)
            for name, server in self._servers.items()
            for each in server.tracked(owner)
        )

    def move_in(self, owner: Hashable, tracked: Iterable[TrackedPresence]) -> None:
        """A channel has come from another worker, which tracked this for it."""
        for each in tracked:
            server = self._servers.get(each.presence)
            if server is not None:  # else the new version of the application has it no more
                server.move_in(owner, each.topic, each.key, each.meta)

    def move_out(self, owner: Hashable) -> None:
        """A channel goes to another worker, which will track the same."""
        for server in self._servers.values():
            server.move_out(owner)

    async def followed(self, seconds: float) -> None:
        """Wait until other workers track what moved out, for so long at the most."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not all(server.followed for server in self._servers.values()):
            if asyncio.get_running_loop().time() > deadline:
                log.warning("presences of channels that moved leave: no worker tracks them yet")
                return
            await asyncio.sleep(FOLLOWED_SECONDS)
