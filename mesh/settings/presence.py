"""Settings of presence."""

from typing import Annotated

from msgspec import Meta

from mesh.settings.section import Section
from mesh.settings.values import Seconds


class PresenceSettings(Section, frozen=True):
    """Presence, which is replicated between the workers."""

    broadcast_seconds: Annotated[Seconds, Meta(description="until other nodes hear of a join or leave")] = (
        0.1
    )
    heartbeat_seconds: Annotated[Seconds, Meta(description="between two signs of life of a replica")] = 1.5
    down_seconds: Annotated[Seconds, Meta(description="of silence, then a node's presences leave")] = 10.0
    permdown_seconds: Annotated[
        Seconds, Meta(description="of silence, then they are forgotten; until then the node may come back")
    ] = 1_200.0
    diff_seconds: Annotated[
        Seconds, Meta(description="in which further changes of a topic are gathered into one presence_diff")
    ] = 0.02

    def conflicts(self) -> dict[str, str]:
        """Require down_seconds to cover two heartbeats, and permdown_seconds to be longer still."""
        found = {}
        if self.down_seconds < 2 * self.heartbeat_seconds:
            found["down_seconds"] = f"want at least twice heartbeat_seconds, {2 * self.heartbeat_seconds:g}"
        if self.permdown_seconds <= self.down_seconds:
            found["permdown_seconds"] = f"want more than down_seconds, {self.down_seconds:g}"
        return found
