"""The presences of a worker: one server for each Presence of the endpoint, by name."""

import asyncio
from collections.abc import Hashable, Iterable

from mesh.app.presence import Presence
from mesh.app.pubsub import LocalBroadcast
from mesh.bus.frames import Header
from mesh.settings import PresenceSettings
from mesh.telemetry import get_logger
from mesh.tracker.tracker import Publish
from mesh.worker.handoff.state import TrackedPresence
from mesh.worker.presence.server import PresenceServer

log = get_logger(__name__)

POLL_SECONDS = 0.01
"""The interval at which `wait_until_taken_over` checks the presences that have moved."""


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
        """Create the presences of a worker.

        Args:
            presences: the Presence objects of the endpoint.
            node: the id of this worker.
            publish: publishes a tracker's message on the bus.
            settings: the settings of presence.
            local_broadcast: broadcasts to the members of a topic that this worker serves.
        """
        return cls(PresenceServer(each, node, publish, settings, local_broadcast) for each in presences)

    @property
    def busy(self) -> bool:
        """Whether a diff still has to be sent."""
        return any(server.busy for server in self._servers.values())

    def topics(self) -> list[str]:
        """Return the bus topics that the trackers need."""
        return [server.tracker.topic for server in self._servers.values()]

    def start(self) -> None:
        """Start the trackers; the worker must be subscribed to their topics."""
        for server in self._servers.values():
            server.tracker.start()

    def close(self) -> None:
        """Announce to the other workers that this one stops."""
        for server in self._servers.values():
            server.close()

    def handle(self, header: Header, data: bytes) -> None:
        """Handle a message of another worker's tracker."""
        server = self._servers.get(header.event)
        if server is not None:
            server.tracker.handle(header.origin, data)

    def refute_loss(self) -> None:
        """A node reported this worker as lost: prove to all others that it is not."""
        for server in self._servers.values():
            server.tracker.refute_loss()

    def lost(self, node: str) -> None:
        """A node reported another one as lost."""
        for server in self._servers.values():
            server.tracker.lost(node)

    def untrack_all(self, owner: Hashable) -> None:
        """Stop tracking everything that a channel tracks."""
        for server in self._servers.values():
            server.untrack_all(owner)

    def gossip_now(self) -> None:
        """Channels are about to move: send all changes of their presences to the other workers now."""
        for server in self._servers.values():
            server.tracker.gossip_now()

    def flush(self, topic: str) -> None:
        """A channel is about to move: send the members of its topic the changes collected so far."""
        for server in self._servers.values():
            server.flush(topic)

    def tracked(self, owner: Hashable) -> tuple[TrackedPresence, ...]:
        """Return everything that `owner` tracks."""
        return tuple(
            TrackedPresence(name, *each)
            for name, server in self._servers.items()
            for each in server.tracked(owner)
        )

    def move_in(self, owner: Hashable, tracked: Iterable[TrackedPresence]) -> None:
        """Track the presences of a channel that came from another worker."""
        for each in tracked:
            server = self._servers.get(each.presence)
            if server is not None:  # otherwise this version of the application has no such Presence
                server.move_in(owner, each.topic, each.key, each.meta)

    def move_out(self, owner: Hashable) -> None:
        """Keep the presences of a channel that moves until another worker tracks them."""
        for server in self._servers.values():
            server.move_out(owner)

    async def wait_until_taken_over(self, seconds: float) -> None:
        """Wait until other workers track the presences that moved, for at most `seconds`."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not all(server.all_taken_over for server in self._servers.values()):
            if asyncio.get_running_loop().time() > deadline:
                log.warning("presences of channels that moved leave: no worker tracks them yet")
                return
            await asyncio.sleep(POLL_SECONDS)


def no_presences(_: LocalBroadcast) -> PresenceRegistry:
    """Return the presences of a worker that has none."""
    return PresenceRegistry(())
