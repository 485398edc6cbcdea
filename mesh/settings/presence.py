"""Settings of presence."""

from typing import Annotated

from msgspec import Meta

from mesh.settings.section import Section
from mesh.settings.values import Seconds


class PresenceSettings(Section, frozen=True):
    """Presence, which is replicated between the workers."""

    broadcast_seconds: Annotated[
        Seconds, Meta(description="longest time until a join or leave is sent to the other nodes")
    ] = 0.1
    heartbeat_seconds: Annotated[
        Seconds, Meta(description="interval of heartbeats between the replicas")
    ] = 1.5
    down_seconds: Annotated[
        Seconds,
        Meta(
            description="the presences of a node from which nothing is received for this long are "
            "reported as left"
        ),
    ] = 10.0
    permdown_seconds: Annotated[
        Seconds,
        Meta(
            description="the presences of a node from which nothing is received for this long are "
            "deleted; before that, the node may return"
        ),
    ] = 1_200.0
    diff_seconds: Annotated[
        Seconds,
        Meta(
            description="time during which further changes of a topic are collected into one presence_diff"
        ),
    ] = 0.02

    def conflicts(self) -> dict[str, str]:
        """Require down_seconds to cover two heartbeats, and permdown_seconds to be longer still."""
        found = {}
        if self.down_seconds < 2 * self.heartbeat_seconds:
            found["down_seconds"] = f"want at least twice heartbeat_seconds, {2 * self.heartbeat_seconds:g}"
        if self.permdown_seconds <= self.down_seconds:
            found["permdown_seconds"] = f"want more than down_seconds, {self.down_seconds:g}"
        return found
