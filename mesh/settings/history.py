"""Settings of the history of topics."""

from typing import Annotated, Literal

from msgspec import Meta

from mesh.settings.secret import Secret
from mesh.settings.section import Section
from mesh.settings.values import Seconds


class HistorySettings(Section, frozen=True):
    """Kept broadcasts, of Channel classes with a `history`."""

    store: Annotated[
        Literal["memory", "redis"],
        Meta(
            description="where kept broadcasts are: in the memory of two workers, or in Redis or Valkey "
            "(`pip install channelmesh[redis]`)"
        ),
    ] = "memory"
    max_bytes: Annotated[
        int,
        Meta(
            ge=100_000,
            description="memory of one worker for all histories; above it, the history of the topic used "
            "least recently is dropped",
        ),
    ] = 100_000_000
    wait_seconds: Annotated[
        Seconds,
        Meta(
            description="longest time that a join or query waits for a history while its recorder changes; "
            "then the answer is `recovered: false`"
        ),
    ] = 5.0
    redis_url: Annotated[
        Secret | None,
        Meta(description="address of Redis or Valkey, e.g. redis://:password@127.0.0.1:6379/0"),
    ] = None
    redis_prefix: Annotated[str, Meta(max_length=100, description="beginning of all keys in Redis")] = (
        "channelmesh:history:"
    )
    redis_idle_seconds: Annotated[
        Seconds,
        Meta(
            description="a topic without a new broadcast for this long is deleted from Redis and begins a "
            "new epoch when it is used again; at least the `seconds` of its History"
        ),
    ] = 86_400.0
    publish_first: Annotated[
        bool,
        Meta(
            description="send a kept broadcast to clients before Redis has stored it: faster, but if Redis "
            "fails at that moment, a client may have received what the history lacks"
        ),
    ] = False

    def conflicts(self) -> dict[str, str]:
        """Require an address for Redis."""
        if self.store == "redis" and self.redis_url is None:
            return {"redis_url": "want the address of Redis, because history.store is redis"}
        return {}
