"""Determines when subscriptions are in force, by a probe through every proxy.

**The problem.** A SUB sends its subscriptions to the proxies asynchronously, and a proxy drops messages
that nobody is subscribed to (ZeroMQ RFC 29). ZeroMQ does not acknowledge subscriptions.

**The solution.** After the subscriptions in question, this node subscribes to a `$sync` topic that it has
never used before, and publishes on it until the probe has come back from each available proxy. A proxy
processes the subscriptions of one connection in order, so by then it has all of them.

Subscriptions made in one tick share a probe, and those made while a probe is under way share the next one.
An unavailable proxy is not waited for: when it becomes available, its connection is not used until libzmq
has sent it all subscriptions, which is verified in the same way (`ZeroMQBus.new_probe_topic`).
"""

import asyncio
from collections.abc import Callable
from functools import partial

from mesh import contexts
from mesh.app import topics
from mesh.bus.contract import Withdraw
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.publisher import Publisher
from mesh.bus.zeromq.subscriber import Subscriber
from mesh.telemetry import get_logger

log = get_logger(__name__)

FIRST_RETRY_SECONDS = 0.001
LAST_RETRY_SECONDS = 0.1

Batch = dict[Callable[[], None], None]
"""Callbacks that run together, in the order in which they were given."""


class Barrier:
    """Combines the callbacks of one tick, or those given while a probe is under way, into one probe."""

    def __init__(self, publisher: Publisher, subscriber: Subscriber, timeout_seconds: float) -> None:
        self._publisher = publisher
        self._subscriber = subscriber
        self._timeout_seconds = timeout_seconds
        self._waiting: Batch = {}
        self._probed_callbacks: Batch = {}
        self._topic = ""
        self._echoed: set[ProxyConnection] = set()
        self._probed_subscriptions: list[bytes] = []
        self._number = 0
        self._retry: asyncio.TimerHandle | None = None
        self._started = 0.0
        self._warned = False
        self._scheduled = False

    def when_complete(self, callback: Callable[[], None]) -> Withdraw:
        """Call back once every subscription made before this call is in force.

        Returns a function that withdraws the callback. Callers that give up must withdraw theirs: without a
        proxy a batch may wait for long, and abandoned callbacks would accumulate.
        """
        self._waiting[callback] = None
        if not self._topic and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start_probe, context=contexts.fresh())
        return partial(self._withdraw, callback)

    def _withdraw(self, callback: Callable[[], None]) -> None:
        self._waiting.pop(callback, None)
        self._probed_callbacks.pop(callback, None)

    def close(self) -> None:
        """Discard all callbacks."""
        if self._retry is not None:
            self._retry.cancel()
        self._waiting.clear()
        self._probed_callbacks.clear()
        self._topic = "closed"

    def _start_probe(self) -> None:
        self._scheduled = False
        if self._topic:
            return
        self._probed_callbacks, self._waiting = self._waiting, {}
        self._number += 1
        self._topic = f"{topics.SYNC}:{self._publisher.origin}:{self._number}"
        self._echoed.clear()
        self._probed_subscriptions = self._subscriber.not_in_force()
        self._subscriber.subscribe(topics.exact(self._topic))
        self._started = asyncio.get_running_loop().time()
        self._warned = False
        self._send_probes(FIRST_RETRY_SECONDS)

    def _send_probes(self, retry_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        for connection in self._publisher.connections:
            if connection not in self._echoed:
                self._publisher.probe(self._topic, connection)
        self._retry = loop.call_later(
            retry_seconds, self._send_probes, min(2 * retry_seconds, LAST_RETRY_SECONDS)
        )
        waited = loop.time() - self._started
        if waited > self._timeout_seconds and not self._warned:
            self._warned = True
            log.warning("the bus does not answer: joins and subscriptions wait", seconds=round(waited, 1))

    def echo(self, topic: str, connection: ProxyConnection) -> None:
        """Record that a probe has come back."""
        if topic == self._topic:
            self._echoed.add(connection)
            self.check()

    def check(self) -> None:
        """Call back if every available proxy has answered, and at least one has."""
        connections = self._publisher.connections
        waiting = any(not each.unavailable and each not in self._echoed for each in connections)
        if waiting or not self._echoed:
            return
        if self._retry is not None:
            self._retry.cancel()
        self._subscriber.unsubscribe(topics.exact(self._topic))
        self._subscriber.in_force(self._probed_subscriptions)
        self._echoed.clear()
        self._topic = ""
        callbacks, self._probed_callbacks = self._probed_callbacks, {}
        for callback in callbacks:
            callback()
        if self._waiting and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start_probe, context=contexts.fresh())
