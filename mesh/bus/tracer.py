"""Asks all gateways what happens to some messages: the calling side of `gateway.trace`."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from mesh.app.pubsub import PubSub
from mesh.bus import trace_call
from mesh.bus.calls import Calls
from mesh.bus.contract import Bus
from mesh.bus.trace_call import (
    MAX_MESSAGES,
    TRACE,
    GatewayTrace,
    Published,
    Question,
    Trace,
    traced_messages,
)
from mesh.errors import WireError

POLL_SECONDS = 0.2
PublishAndConfirm = Callable[[Callable[[], object]], Awaitable[None]]


class Tracer:
    """One trace.

    Args:
        bus: the bus on which to publish.
        calls: sends the questions to the gateways.
        gateways: the ids of the gateways.
        answer_seconds: how long each gateway may take to answer; after that its answer is left out.
    """

    def __init__(self, bus: Bus, calls: Calls, gateways: list[str], answer_seconds: float) -> None:
        self._bus = bus
        self._calls = calls
        self._gateways = gateways
        self._answer_seconds = answer_seconds
        self._trace_id = secrets.token_hex(8)
        self._unresponsive: set[str] = set()

    async def follow(
        self,
        topic: str,
        seconds: float,
        count: int,
        publish: tuple[str, Any] | None,
        publish_and_confirm: PublishAndConfirm,
    ) -> Trace:
        """Watch, publish or wait, and ask until nothing waits any more or the time is over.

        Args:
            topic: the topic to watch.
            seconds: the longest time to watch.
            count: the number of messages.
            publish: (event, payload) to publish `count` times; None to wait for messages of others.
            publish_and_confirm: publishes a message and returns when a proxy has accepted it.
        """
        question = Question(self._trace_id, topic, "", seconds + 2 * self._answer_seconds, MAX_MESSAGES)
        if publish is not None:
            question.origin = self._bus.node
        await self._ask(question)
        published: dict[tuple[str, int], Published] = {}
        for _ in range(count if publish is not None else 0):
            assert publish is not None
            each = await self._publish(topic, *publish, publish_and_confirm)
            published[each.origin, each.sequence] = each
        deadline = time.monotonic() + seconds
        while True:
            seen = await self._ask(question)
            messages = list(published) or traced_messages(seen, count)
            traced = Trace(messages, published, seen)
            if (len(messages) == count and traced.settled) or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        question.seconds = 0
        await self._ask(question)
        return traced

    async def _publish(
        self, topic: str, event: str, payload: Any, publish_and_confirm: PublishAndConfirm
    ) -> Published:
        published: list[Published] = []

        def publish() -> None:
            at = time.time()
            sequence = PubSub(self._bus).broadcast(topic, event, payload)
            published.append(Published(self._bus.node, sequence, at, self._bus.paths.server_of(topic)))

        await publish_and_confirm(publish)
        return published[0]

    async def _ask(self, question: Question) -> list[GatewayTrace]:
        return await asyncio.gather(*(self._ask_one(question, each) for each in self._gateways))

    async def _ask_one(self, question: Question, gateway: str) -> GatewayTrace:
        if gateway in self._unresponsive:
            return GatewayTrace(gateway, None)
        try:
            data = await self._calls.call(gateway, TRACE, trace_call.encode(question), self._answer_seconds)
            return GatewayTrace(gateway, trace_call.decode_answer(data))
        except (TimeoutError, WireError):
            self._unresponsive.add(gateway)
            return GatewayTrace(gateway, None)
