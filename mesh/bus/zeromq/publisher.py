"""The publishing half of a node's bus: numbers messages, and sends each topic through one of the proxies.

**What must hold.** The broadcasts of one node to one topic arrive in order, each at most once, and none is
lost while one proxy remains (guarantees 2 to 4 of mesh/bus/contract.py). PUB and SUB alone (ZeroMQ RFC 29)
promise less: one connection delivers in order, but nothing is acknowledged or sent again. Therefore:

1. *One topic, one proxy.* A topic is sent through one proxy, chosen by rendezvous hashing over the proxies
   in use (topic_proxies.py). While these do not change, the connection preserves the order.
2. *Only proxies that every node receives from.* A proxy is in use while our own probes come back through it
   and every live node has announced that it receives from it (coverage.py). If there is no such proxy,
   those through which our probes have come back for `bus.listeners_seconds` are used: some nodes are better
   than none.
3. *Kept until forwarded.* A probe that comes back proves that the proxy has accepted the messages before
   it, but not that every node has received them. So a message stays in the resend buffer of its connection
   some seconds longer (resend_buffer.py). When a proxy is no longer used, the messages in its buffer are
   sent through the others, in order and with their old numbers; receivers drop duplicates (duplicates.py).
4. *Markers.* Messages on a new path must not overtake those on the old path: failover.py.

**What is bounded.** While no proxy is in use, or its queue is full (EAGAIN; XPUB_NODROP), messages wait in
the backlog, up to `bus.backlog_messages` and 64 MB. Messages that do not fit are dropped, counted and
logged. A proxy that does not answer for `bus.proxy_timeout_seconds` is given up if another one is in use.
"""

import asyncio
import itertools
import time
from collections.abc import Collection
from typing import Protocol

import zmq

from mesh import contexts
from mesh.app import topics
from mesh.bus.frames import (
    ANNOUNCEMENT,
    MOVE,
    PROBE,
    READABLE_VERSIONS,
    RESENT_KINDS,
    VERSION,
    Header,
    Recorded,
    encode_header,
    made,
)
from mesh.bus.zeromq.backlog import MAX_BYTES, Backlog
from mesh.bus.zeromq.coverage import Coverage
from mesh.bus.zeromq.failover import Markers
from mesh.bus.zeromq.first_probes import FirstProbes
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.resend_buffer import NumberedMessage
from mesh.bus.zeromq.topic_proxies import TopicProxies
from mesh.protocol.messages import Sender
from mesh.settings import BusSettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)

RETRY_SECONDS = 0.005
TICK_SECONDS = 0.25
"""The interval of probes through each proxy."""
SILENT_ANNOUNCEMENTS = 2.5
"""After this many missing announcements a node is not waited for any longer when a proxy is back."""


class Owner(Protocol):
    """The bus that a publisher is part of."""

    def new_probe_topic(self, connection: ProxyConnection) -> str:
        """Return a topic that was subscribed to just now, to find out whether a proxy's messages arrive."""

    def probe_echoed(self) -> None:
        """A probe has come back: a proxy has accepted more messages."""

    def paths_changed(self) -> None:
        """The proxies that this node receives from or publishes through have changed."""

    def proxy_lost(self) -> None:
        """A proxy is known to be disconnected."""


class Publisher:
    """The publishing half of a node's bus.

    Attributes:
        origin: the id of the node.
        sequence: the number of the last message published.
        version: the version of the headers that it publishes.
        connections: one connection for each proxy.
        in_use: the connections that it publishes through.
        dropped: the number of messages that did not fit into the backlog.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        origin: str,
        settings: BusSettings,
        proxies: Collection[str],
        owner: Owner,
    ) -> None:
        self.origin = origin
        self.sequence = 0
        self.version = READABLE_VERSIONS.newest
        self.dropped = 0
        self._owner = owner
        self._settings = settings
        self._context = context
        # Never reused: markers of an old connection may still be on their way.
        self._indexes = itertools.count()
        self.connections = [self._connection_to(address) for address in proxies]
        self._coverage = Coverage(self.connections)
        self.in_use: list[ProxyConnection] = []
        self._marker_due = False
        self._markers = Markers()
        self._topics = TopicProxies()
        self._backlog = Backlog(settings.backlog_messages)
        self._retry: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_tick = 0.0

    @property
    def connected(self) -> bool:
        """Whether messages make the round trip through some proxy."""
        return any(connection.answering for connection in self.connections)

    @property
    def backlog(self) -> int:
        """The number of messages that wait for a proxy."""
        return len(self._backlog.messages)

    @property
    def proxies(self) -> tuple[str, ...]:
        """The proxies that this node receives from."""
        return tuple(connection.address for connection in self.connections if connection.answering)

    @property
    def uses(self) -> tuple[str, ...]:
        """The proxies that this node publishes through."""
        return tuple(each.address for each in self.in_use)

    def proxy_of(self, topic: str) -> str:
        """Return the proxy through which a topic is sent now; empty if no proxy is in use."""
        connection = self._topics.connection(topic)
        return connection.address if connection is not None else ""

    def start(self) -> None:
        """Connect to the proxies. Raises MeshError if an address or a key cannot be used."""
        for connection in self.connections:
            connection.open()
        self._tick()

    def add(self, address: str) -> None:
        """Add a proxy. Raises MeshError if its address or the key cannot be used."""
        connection = self._connection_to(address)
        connection.open()
        self.connections.append(connection)
        self._coverage.add_connection(connection)

    def _connection_to(self, address: str) -> ProxyConnection:
        return ProxyConnection(self._context, self._settings, address, next(self._indexes), self)

    def remove(self, connection: ProxyConnection) -> None:
        """Remove a proxy whose connection has ended; what it may have lost was sent again then."""
        connection.close()
        self.connections.remove(connection)
        self._choose_proxies()
        self._owner.proxy_lost()

    def close(self) -> None:
        """Stop. Messages in the backlog are lost, which is logged and counted."""
        if self.backlog:
            log.warning("messages not sent at stop", messages=self.backlog)
            counters.count("bus_backlog_dropped", self.backlog)
        for timer in (self._retry, self._timer):
            if timer is not None:
                timer.cancel()
        for connection in self.connections:
            connection.close()

    def publish(
        self,
        kind: int,
        topic: str,
        event: str = "",
        codec: int = 0,
        data: bytes = b"",
        sender: Sender | None = None,
        recorded: Recorded | None = None,
    ) -> int:
        """Number a message of any kind, queue it, and return its number."""
        self.sequence = sequence = self.sequence + 1
        version = VERSION if kind == ANNOUNCEMENT else self.version
        header = encode_header(made(version, kind, self.origin, sequence, event, codec, sender, recorded))
        frames = [topics.exact(topic), header, data]
        if kind in RESENT_KINDS:
            message = NumberedMessage(sequence, topic, frames, time.monotonic())
            connection = None if self._backlog.messages else self._topics.connection(topic)
            if connection is None or not connection.send_and_keep(message):
                self._queue_message(message)
        elif kind == ANNOUNCEMENT:  # through every proxy, for nodes that have lost one of them
            for each in self.connections:
                each.send(frames)
        else:
            connection = self._topics.connection(topic)
            if connection is not None:
                connection.send(frames)
        return sequence

    def probe(self, topic: str, connection: ProxyConnection) -> int:
        """Publish a probe through one proxy, after all that was sent through it; return its number."""
        self.sequence = sequence = self.sequence + 1
        header = Header(self.version, PROBE, self.origin, sequence, str(connection.index), 0)
        connection.probe(sequence, [topics.exact(topic), encode_header(header), b""])
        return sequence

    def echoed(self, connection: ProxyConnection, sequence: int) -> None:
        """A probe has come back: its proxy has accepted everything that was sent before it."""
        if connection.connected and connection.echoed(sequence):
            self._owner.paths_changed()
            self._choose_proxies()
        self._owner.probe_echoed()

    def suspect(self, connections: Collection[ProxyConnection]) -> None:
        """Stop using these until a probe comes back through them, and send their messages again."""
        for connection in connections:
            connection.suspect()
        self._choose_proxies()

    def interrupted(self, connection: ProxyConnection) -> None:
        """The SUB's connection to a proxy has ended: probe it again."""
        if connection.answering:
            connection.interrupt()
            self.proxy_connected(connection)
            self.proxy_lost(connection)

    def is_pending(self, first: int, last: int) -> bool:
        """Return whether one of the messages with these numbers has not been confirmed by a proxy yet."""
        return self._backlog.has_any(first, last) or any(
            connection.resend_buffer.has_unconfirmed(first, last) for connection in self.connections
        )

    # Which nodes receive from which proxy

    def node_announced(self, node: str, proxies: Collection[str]) -> None:
        """Record the proxies that a node has announced to receive from."""
        self._coverage.node_announced(node, proxies, asyncio.get_running_loop().time())
        self._choose_proxies()

    def node_gone(self, node: str) -> None:
        """Ignore the proxies of a node that has stopped."""
        if self._coverage.forget(node):
            self._choose_proxies()

    def _choose_proxies(self) -> None:
        """Use the proxies that every node receives from; send messages of proxies no longer used again."""
        now = asyncio.get_running_loop().time()
        usable = self._coverage.usable(now, self._settings.listeners_seconds)
        if self._backlog.messages:  # these were published before any marker that could be sent now
            usable = [connection for connection in usable if connection in self.in_use] or usable
        if usable == self.in_use:
            return
        before, self.in_use = self.in_use, usable
        self._topics.use(usable)
        log.debug("proxies in use", proxies=[connection.address for connection in usable])
        kept = [connection for connection in before if connection in usable]
        added = [connection for connection in usable if connection not in before]
        if kept and added:
            self._send_markers(kept, added)
        self._marker_due = self._marker_due or len(kept) < len(before)
        self._resend([each for each in self.connections if each not in usable])
        self._owner.paths_changed()

    def _send_markers(self, kept: list[ProxyConnection], added: list[ProxyConnection]) -> None:
        """Send markers: receivers hold later messages until those on the old paths have arrived."""
        self.sequence = boundary = self.sequence + 1
        header = encode_header(Header(self.version, MOVE, self.origin, boundary, "", 0))
        self._markers.send(header, kept, added, asyncio.get_running_loop().time())

    def _resend(self, connections: list[ProxyConnection]) -> None:
        buffers = [connection.resend_buffer for connection in connections]
        lost = [message._replace(resent=True) for buffer in buffers for message in buffer.take_all()]
        if lost:
            log.warning("messages are sent again, a proxy may have lost them", messages=len(lost))
            counters.count("bus_messages_resent", len(lost))
            self._backlog.add_lost(lost)
        self._flush()

    # Timer

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        was_frozen = now - self._last_tick > 4 * TICK_SECONDS  # then silence proves nothing
        self._last_tick = now
        for connection in self.connections:
            connection.resend_buffer.tick(now)
            if connection.answering:
                self.probe(topics.of_sync(self.origin), connection)
            unanswered_seconds = now - connection.answered_at
            silent = connection.answering and unanswered_seconds > self._settings.proxy_timeout_seconds
            if silent and not was_frozen and any(other is not connection for other in self.in_use):
                log.warning("proxy does not answer", proxy=connection.address)
                connection.give_up()
        self._markers.repeat(now)
        silence_seconds = SILENT_ANNOUNCEMENTS * self._settings.announce_seconds
        for node in [] if was_frozen else self._coverage.silent(now, silence_seconds):
            self.node_gone(node)
        self._choose_proxies()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

    def proxy_connected(self, connection: ProxyConnection) -> None:
        """A proxy is connected: find out whether its messages arrive as well."""
        FirstProbes(self, connection, self._owner.new_probe_topic(connection), TICK_SECONDS).send()

    def proxy_lost(self, _connection: ProxyConnection) -> None:
        """A proxy is known to be disconnected or unresponsive."""
        self._owner.proxy_lost()
        self._owner.paths_changed()
        self._choose_proxies()

    # Backlog

    def _queue_message(self, message: NumberedMessage) -> None:
        if not self._backlog.add(message):
            if not counters.value("bus_backlog_dropped"):
                limit = self._settings.backlog_messages
                log.error("bus backlog is full: messages are dropped", limit=limit, bytes=MAX_BYTES)
            counters.count("bus_backlog_dropped")
            self.dropped += 1
        elif self.in_use and self._retry is None:
            self._retry_later()

    def _retry_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(RETRY_SECONDS, self._retry_flush, context=contexts.fresh())

    def _retry_flush(self) -> None:
        self._retry = None
        self._flush()

    def _flush(self) -> None:
        while self._backlog.messages and self.in_use:
            message = self._backlog.messages[0]
            connection = self._topics.connection(message.topic)
            if connection is None or not connection.send_and_keep(message):
                if self._retry is None:
                    self._retry_later()
                return
            self._backlog.remove_first()
        if self._marker_due and self.in_use:  # the messages of a lost proxy have been sent again
            self._marker_due = False
            self._send_markers(self.in_use, [])
