"""The presences of a worker: one server for each Presence of the endpoint, by name."""

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
"""Interval at which `followed` looks whether the presences that moved are tracked elsewhere."""


class PresenceRegistry:
    """All presences of a worker.

    Args:
        servers: one for each Presence of the endpoint.
    """

    def __init__(self, servers: Iterable[PresenceServer]) -> None:
        self._servers = {each.presence.name: each for each in servers}
        for server in self._servers.values():
            server.presence.bind(server)

    @classmethod
    def of(
        cls,
        presences: Iterable[Presence],
        node: str,
        publish: Publish,
        settings: PresenceSettings,
        local_broadcast: LocalBroadcast,
    ) -> "PresenceRegistry":
        """Make the presences of a worker.

        Args:
            presences: of the endpoint.
            node: this worker's id.
            publish: sends a tracker's message on the bus.
            settings: of presence.
            local_broadcast: broadcasts to the members of a topic that this worker serves.
        """
        return cls(PresenceServer(each, node, publish, settings, local_broadcast) for each in presences)

    @property
    def busy(self) -> bool:
        """Whether a diff is still to come."""
        return any(server.busy for server in self._servers.values())

    def topics(self) -> list[str]:
        """The topics on which the trackers must hear the bus."""
        return [server.tracker.topic for server in self._servers.values()]

    def start(self) -> None:
        """Start the trackers: the worker is subscribed to their topics."""
        for server in self._servers.values():
            server.tracker.start()

    def close(self) -> None:
        """Tell the other workers that this one stops."""
        for server in self._servers.values():
            server.close()

    def handle(self, header: Header, data: bytes) -> None:
        """A message of another worker's tracker."""
        server = self._servers.get(header.event)
        if server is not None:
            server.tracker.handle(header.origin, data)

    def answer(self) -> None:
        """Some node reports that this one died: tell all that it lives."""
        for server in self._servers.values():
            server.tracker.answer()

    def lost(self, node: str) -> None:
        """Some node reports that another one died."""
        for server in self._servers.values():
            server.tracker.lost(node)

    def untrack_all(self, owner: Hashable) -> None:
        """Stop tracking everything that a channel tracks."""
        for server in self._servers.values():
            server.untrack_all(owner)

    def tell(self) -> None:
        """Channels are about to move: send now what other workers do not know yet of their presences."""
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
            if server is not None:  # else this version of the application has no such Presence
                server.move_in(owner, each.topic, each.key, each.meta)

    def move_out(self, owner: Hashable) -> None:
        """A channel goes to another worker, which will track the same."""
        for server in self._servers.values():
            server.move_out(owner)

    async def followed(self, seconds: float) -> None:
        """Wait until other workers track what moved out, for at most `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not all(server.followed for server in self._servers.values()):
            if asyncio.get_running_loop().time() > deadline:
                log.warning("presences of channels that moved leave: no worker tracks them yet")
                return
            await asyncio.sleep(FOLLOWED_SECONDS)


def no_presences(_: LocalBroadcast) -> PresenceRegistry:
    """The presences of a worker that has none."""
    return PresenceRegistry(())
