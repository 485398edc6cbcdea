"""Settings of presence."""

from pydantic import Field, ValidationInfo, field_validator

from mesh.settings.room import Room
from mesh.settings.values import Seconds


class PresenceSettings(Room):
    """Who is where, replicated between the workers."""

    broadcast_seconds: Seconds = Field(0.1, description="until other nodes hear of a join or leave")
    heartbeat_seconds: Seconds = Field(1.5, description="between two signs of life of a replica")
    down_seconds: Seconds = Field(10.0, description="of silence, then a node's presences leave")
    permdown_seconds: Seconds = Field(
        1_200.0, description="of silence, then they are forgotten; until then the node may come back"
    )
    diff_seconds: Seconds = Field(
        0.02, description="in which further changes of a topic are gathered into one presence_diff"
    )

    @field_validator("down_seconds")
    @classmethod
    def _check_down(cls, down: float, info: ValidationInfo) -> float:
        heartbeat = info.data.get("heartbeat_seconds", 0)
        if down < 2 * heartbeat:
            raise ValueError(f"want at least twice heartbeat_seconds, {2 * heartbeat:g}")
        return down

    @field_validator("permdown_seconds")
    @classmethod
    def _check_permdown(cls, permdown: float, info: ValidationInfo) -> float:
        down = info.data.get("down_seconds", 0)
        if permdown <= down:
            raise ValueError(f"want more than down_seconds, {down:g}")
        return permdown
