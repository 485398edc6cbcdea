"""A client's time-outs, retry delays and limits."""

from dataclasses import dataclass

from mesh.errors import SettingsError


@dataclass(frozen=True)
class Options:
    """Times in seconds; the defaults are those of phoenix.js.

    Attributes:
        timeout_seconds: how long to wait for the answer to a join, a push or a leave.
        heartbeat_seconds: the interval of heartbeats; one unanswered for that long ends the connection.
        reconnect_seconds: the delay before each attempt to reconnect; the last is repeated.
        rejoin_seconds: the delay before each attempt to rejoin; the last is repeated.
        max_buffered: the most pushes that wait for one channel to be joined.
    """

    timeout_seconds: float = 10.0
    heartbeat_seconds: float = 30.0
    reconnect_seconds: tuple[float, ...] = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0)
    rejoin_seconds: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0)
    max_buffered: int = 1_000

    def __post_init__(self) -> None:
        for name in ("timeout_seconds", "heartbeat_seconds"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)!r}; want more than 0 seconds")
        for name in ("reconnect_seconds", "rejoin_seconds"):
            delays = getattr(self, name)
            if not delays or any(not delay >= 0 for delay in delays):
                raise SettingsError(f"{name} is {delays!r}; want one or more delays of at least 0 seconds")


def retry_delay(delays: tuple[float, ...], attempt: int) -> float:
    """Return the delay before an attempt; `attempt` counts from 1."""
    return delays[min(attempt, len(delays)) - 1]
