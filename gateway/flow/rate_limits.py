"""Rate limits: pushes, joins and bytes of a socket, and pushes of a channel.

A message over a limit gets Phoenix's error reply, `{"status": "error"}`, and is not forwarded. Heartbeats
and leaves always pass. Pure: the clock is an argument.
"""

from collections.abc import Callable
from typing import Any

from mesh.app.channel import Channel
from mesh.app.routes import RouteTable
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.flow.token_bucket import TokenBucket
from mesh.protocol.messages import HEARTBEAT, HEARTBEAT_TOPIC, JOIN, LEAVE, Message
from mesh.settings import LimitSettings
from mesh.telemetry import counters


class RateLimits:
    """The limits of one socket.

    Args:
        settings: the limits of every socket.
        now: returns the time, in seconds.
    """

    __slots__ = ("_bytes", "_joins", "_now", "_pushes")

    def __init__(self, settings: LimitSettings, now: Callable[[], float]) -> None:
        time = now()
        self._now = now
        self._pushes = _bucket(settings.pushes_per_second, settings.push_burst, time)
        self._joins = _bucket(settings.joins_per_second, settings.join_burst, time)
        self._bytes = _bucket(settings.bytes_per_second, settings.byte_burst, time)

    def check(
        self, message: Message, size: int, channel_of: Callable[[Any], GatewayChannel | None]
    ) -> bytes | None:
        """Return None if a message of `size` bytes may pass, else the response of its error reply."""
        event = message.event
        if event == LEAVE or (event == HEARTBEAT and message.topic == HEARTBEAT_TOPIC):
            return None
        now = self._now()
        if event == JOIN:
            wait = _take(self._joins, 1, now)
            kind = "joins"
        else:
            wait = _take(self._pushes, 1, now)
            kind = "pushes"
            channel = channel_of(message.topic) if isinstance(message.topic, str) else None
            if not wait and channel is not None:
                wait = _take(_channel_bucket(channel, now), 1, now)
        if not wait:
            wait = _take(self._bytes, size, now)
            kind = "bytes"
        if not wait:
            return None
        counters.count("messages_rate_limited")
        return b'{"reason":"rate limited","limit":"%s","retry_after_ms":%d}' % (
            kind.encode(),
            wait * 1000 + 1,
        )


def socket_limits(
    settings: LimitSettings, routes: RouteTable[type[Channel]], now: Callable[[], float]
) -> RateLimits | None:
    """Return the limits of a new socket, or None if nothing is limited."""
    rates = (settings.pushes_per_second, settings.joins_per_second, settings.bytes_per_second)
    if any(rates) or any(route.channel.rate_limit for route in routes.routes):
        return RateLimits(settings, now)
    return None


def _channel_bucket(channel: GatewayChannel, now: float) -> TokenBucket | None:
    limit = channel.route.channel.rate_limit
    if limit is not None and channel.pushes is None:
        channel.pushes = TokenBucket(limit.per_second, limit.burst, now)
    return channel.pushes


def _bucket(per_second: float | None, burst: float, now: float) -> TokenBucket | None:
    return TokenBucket(per_second, burst, now) if per_second is not None else None


def _take(bucket: TokenBucket | None, amount: float, now: float) -> float:
    return bucket.take(amount, now) if bucket is not None else 0.0
