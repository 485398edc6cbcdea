"""Keeps one topic from ending worker after worker: does what RefusedTopics and Suspects decide.

The links ask before a join goes to a worker, and tell when one has died with it. Gateways tell each other
over the bus, so that a topic does not cost each of them two workers.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from gateway.channels.gateway_channel import GatewayChannel
from gateway.joins.refused_topics import RefusedTopics, Topic
from gateway.joins.suspects import Suspects
from mesh.bus import crashed_joins
from mesh.bus.frames import Header
from mesh.errors import WireError
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger("gateway.joins")
_malformed = Complaints(log, "bus message dropped")
_chance = random.SystemRandom().random

STAGGER_SECONDS = 0.5
"""A join that was on a worker that died waits a random part of that: another gateway may be quicker."""
TICK_SECONDS = 0.02


class GuardHandler(Protocol):
    """What is told when a held join's turn has come: the hub."""

    def on_placeable(self, channel: GatewayChannel) -> None:
        """A join that was held may go to a worker now."""

    def on_topic_refused(self, channel: GatewayChannel) -> None:
        """A join is refused: "join crashed"."""


class JoinGuard:
    """Which joins may go to a worker now.

    Args:
        handler: told what becomes of the joins that were held.
        max_seconds: that a topic's joins are refused at a time (gateway.max_topic_rest_seconds).
        tell: sends the other gateways what `told` takes.
    """

    def __init__(self, handler: GuardHandler, max_seconds: float, tell: Callable[[bytes], object]) -> None:
        self._handler = handler
        self._refused = RefusedTopics(max_seconds)
        self._suspects = Suspects()
        self._tell = tell
        self._timer: asyncio.TimerHandle | None = None

    def holds(self, mount: str, channel: GatewayChannel) -> bool:
        """Whether a join must not go to a worker now: it is refused soon, or waits for its turn."""
        if self._refused and self._refused.refuses((mount, channel.topic), _now()):
            counters.count("joins_crashed")
            asyncio.get_running_loop().call_soon(self._handler.on_topic_refused, channel)
            return True
        pending = channel.pending
        if pending is None or not pending.deaths or self._suspects.under_way(channel):
            return False
        if not self._suspects.waits(channel):
            self._suspects.add(channel, _now() + STAGGER_SECONDS * _chance())
            self._later()
        return True

    def died(self, mount: str, channel: GatewayChannel) -> bool:
        """A worker has died with this join under way; returns whether it is refused."""
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
            self._say(topic, "joins of this topic end workers: the topic is refused")
            self._tell(crashed_joins.encode(crashed_joins.RefusedTopic(*topic, times)))
        return True

    def told(self, header: Header, data: bytes) -> None:
        """Another gateway refuses the joins of a topic."""
        try:
            said = crashed_joins.decode(data)
        except WireError as error:
            _malformed.about(header.origin, "bus_messages_malformed", str(error))
            return
        topic = (said.mount, said.topic)
        if self._refused.told(topic, said.times, _now()):
            self._say(
                topic,
                "another gateway reports that joins of this topic end workers: the topic is refused",
            )

    def answered(self, mount: str, channel: GatewayChannel) -> None:
        """A worker has answered a join, and lives."""
        if self._refused:
            self._refused.answered((mount, channel.topic), _now())
        if self._suspects:
            self._suspects.answered(channel)
            self._next()

    def forget(self, channel: GatewayChannel) -> None:
        """The channel is over, or waits for a worker to be there."""
        if not self._suspects:
            return
        if channel.pending is not None and channel.pending.refused:
            self._suspects.answered(channel)
            self._next()
        else:
            self._suspects.forget(channel)

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.cancel()

    def _say(self, topic: Topic, what: str) -> None:
        seconds = self._refused.seconds(topic)
        log.error(what, mount=topic[0], topic=topic[1], seconds=seconds, times=self._refused.times(topic))

    def _later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._next()
        if self._suspects:
            self._later()

    def _next(self) -> None:
        while due := self._suspects.due(_now()):  # again: those that no worker is there for make room
            for channel in due:
                self._handler.on_placeable(channel)


def _now() -> float:
    return asyncio.get_running_loop().time()
