"""Prevents the joins of one topic from crashing one worker after another.

It carries out the decisions of RefusedTopics and Suspects. The hub asks it before a join is sent to a
worker, and reports when a worker has died that had the join. Gateways inform each other over the bus, so
that a topic does not crash two workers for each of them.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from mesh.bus import crashed_joins
from mesh.bus.frames import Header
from mesh.errors import WireError
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.joins.refused_topics import RefusedTopics, Topic
from mesh.gateway.joins.suspects import Suspects
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "bus message dropped")
_random = random.SystemRandom().random

STAGGER_SECONDS = 0.5
"""A join that a dead worker had waits for a random part of this, so that one gateway tries it first."""
TICK_SECONDS = 0.02


class GuardHandler(Protocol):
    """Handles the joins that were held; implemented by the hub."""

    def on_placeable(self, channel: GatewayChannel) -> None:
        """Send a join that was held to a worker."""

    def on_topic_refused(self, channel: GatewayChannel) -> None:
        """Refuse a join with "join crashed"."""


class JoinGuard:
    """Decides which joins may be sent to a worker now.

    Args:
        handler: handles the joins that were held.
        max_seconds: the longest time for which a topic is refused (gateway.max_topic_refusal_seconds).
        notify_gateways: sends the other gateways a message that they pass to `on_topic_refused_elsewhere`.
    """

    def __init__(
        self, handler: GuardHandler, max_seconds: float, notify_gateways: Callable[[bytes], object]
    ) -> None:
        self._handler = handler
        self._refused = RefusedTopics(max_seconds)
        self._suspects = Suspects()
        self._notify_gateways = notify_gateways
        self._timer: asyncio.TimerHandle | None = None

    def holds(self, mount: str, channel: GatewayChannel) -> bool:
        """Return whether a join must not be sent now: it will be refused, or waits for its turn."""
        if self._refused and self._refused.refuses((mount, channel.topic), _now()):
            counters.count("joins_crashed")
            asyncio.get_running_loop().call_soon(self._handler.on_topic_refused, channel)
            return True
        pending = channel.pending
        if pending is None or not pending.deaths or self._suspects.in_progress(channel):
            return False
        if not self._suspects.waits(channel):
            self._suspects.add(channel, _now() + STAGGER_SECONDS * _random())
            self._start_timer()
        return True

    def died(self, mount: str, channel: GatewayChannel) -> bool:
        """Note that a worker has died that had this join; return whether the join is refused."""
        pending = channel.pending
        assert pending is not None
        pending.deaths += 1
        self._suspects.died(channel)
        topic, now = (mount, channel.topic), _now()
        before = self._refused.times(topic)
        if not self._refused.died(topic, pending.deaths, now):
            return False
        counters.count("joins_crashed")
        times = self._refused.times(topic)
        if times != before:
            self._log_refusal(
                topic, "joins of this topic crash workers: further joins are refused for a time"
            )
            self._notify_gateways(crashed_joins.encode(crashed_joins.RefusedTopic(*topic, times)))
        return True

    def on_topic_refused_elsewhere(self, header: Header, data: bytes) -> None:
        """Handle the message of another gateway that refuses the joins of a topic."""
        try:
            report = crashed_joins.decode(data)
        except WireError as error:
            _malformed.about(header.origin, "bus_messages_malformed", str(error))
            return
        topic = (report.mount, report.topic)
        if self._refused.refused_elsewhere(topic, report.times, _now()):
            self._log_refusal(
                topic,
                "another gateway reports that joins of this topic crash workers:"
                " further joins are refused for a time",
            )

    def answered(self, mount: str, channel: GatewayChannel) -> None:
        """Note that a worker has answered a join, and has survived it."""
        if self._refused:
            self._refused.answered((mount, channel.topic), _now())
        if self._suspects:
            self._suspects.answered(channel)
            self._place_due()

    def forget(self, channel: GatewayChannel) -> None:
        """Forget a channel that has ended, or for which there is no worker."""
        if not self._suspects:
            return
        if channel.pending is not None and channel.pending.refused:
            self._suspects.answered(channel)
            self._place_due()
        else:
            self._suspects.forget(channel)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _log_refusal(self, topic: Topic, what: str) -> None:
        seconds = self._refused.seconds(topic)
        log.error(what, mount=topic[0], topic=topic[1], seconds=seconds, times=self._refused.times(topic))

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._place_due()
        if self._suspects:
            self._start_timer()

    def _place_due(self) -> None:
        while due := self._suspects.due(_now()):  # repeated: joins without a worker give way to others
            for channel in due:
                self._handler.on_placeable(channel)


def _now() -> float:
    return asyncio.get_running_loop().time()
