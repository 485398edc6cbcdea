"""The publishing half of a node's bus: numbers messages, and sends each topic through one of the proxies.

**What must hold.** The broadcasts of one node to one topic arrive in order, each at most once, and none is
lost while one proxy is left (guarantees 2 to 4 of mesh/bus/contract.py). PUB and SUB alone (ZeroMQ RFC 29)
promise less: what one connection delivers is in order, but nothing is acknowledged or sent again. So:

1. *One topic, one way.* A topic goes through one proxy, chosen by rendezvous hashing over those in use
   (topic_proxies.py). While these stay the same, order follows from that of the connection.
2. *Only ways that everybody hears.* A proxy is in use while our own probes come back through it and every
   live node has announced that it hears it (coverage.py). If there is no such proxy, those through which
   our probes have come back for `bus.listeners_seconds` are used: some nodes are better than none.
3. *Kept until passed on.* A probe behind a message that comes back proves that the proxy has taken the
   message, though not that every node has it. So a message stays in the resend buffer of its connection
   until then and some seconds longer (resend_buffer.py). When a proxy is used no more, what is in its
   buffer goes through the others, in order and with the old numbers; receivers drop what they have had
   (duplicates.py).
4. *Markers.* What moves to another proxy must not overtake what came the old way: failover.py.

**What is bounded.** While no proxy is in use, or its queue is full (EAGAIN; XPUB_NODROP), messages wait in
the backlog, up to `bus.backlog_messages` and 64 MB. What does not fit is dropped, counted and logged. A
proxy that owes an answer for `bus.proxy_timeout_seconds` is given up if another is in use.
"""

import asyncio
import itertools
import time
from collections.abc import Collection
from typing import Protocol

import zmq

from mesh import contexts, topics
from mesh.bus.frames import ANNOUNCEMENT, KEPT, MOVE, PROBE, READ, VERSION, Header, encode_header
from mesh.bus.zeromq.backlog import MAX_BYTES, Backlog
from mesh.bus.zeromq.coverage import Coverage
from mesh.bus.zeromq.failover import Markers
from mesh.bus.zeromq.first_probes import FirstProbes
from mesh.bus.zeromq.proxy_connection import ProxyConnection
from mesh.bus.zeromq.resend_buffer import NumberedMessage
from mesh.bus.zeromq.topic_proxies import TopicProxies
from mesh.messages import Sender
from mesh.settings import BusSettings
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.bus")

RETRY_SECONDS = 0.005
TICK_SECONDS = 0.25
"""Between two probes of each proxy."""
SILENT_ANNOUNCEMENTS = 2.5
"""After this many missing announcements of a node, nobody waits for it when a proxy is back."""


class Owner(Protocol):
    """What a publisher asks of, and tells, the bus that it is part of."""

    def fresh_topic(self, connection: ProxyConnection) -> str:
        """A topic that was subscribed to just now, to find out whether a proxy's messages arrive."""

    def probe_echoed(self) -> None:
        """A probe has come back: a proxy has taken over more messages."""

    def paths_changed(self) -> None:
        """The proxies that this node hears, or uses, have changed."""

    def proxy_lost(self) -> None:
        """One is known not to be there."""


class Publisher:
    """The publishing half of a node's bus.

    Attributes:
        origin: the node's id.
        sequence: number of the last message published.
        version: of the headers it publishes.
        connections: one for each proxy.
        in_use: those that it publishes through.
        dropped: how many messages did not fit into the backlog.
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
        self.version = READ.newest
        self.dropped = 0
        self._owner = owner
        self.connections: list[ProxyConnection] = []
        self._settings = settings
        self._context = context
        # Never given twice: markers of an old connection may be on their way.
        self._numbers = itertools.count()
        self.connections += map(self._connection_to, proxies)
        self._coverage = Coverage(self.connections)
        self.in_use: list[ProxyConnection] = []
        self._unsettled = False
        self._markers = Markers()
        self._topics = TopicProxies()
        self._backlog = Backlog(settings.backlog_messages)
        self._retry: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ticked = 0.0

    @property
    def connected(self) -> bool:
        """Whether a proxy is there."""
        return any(connection.answering for connection in self.connections)

    @property
    def backlog(self) -> int:
        """How many broadcasts wait for one."""
        return len(self._backlog.messages)

    @property
    def proxies(self) -> tuple[str, ...]:
        """Those from which this node receives."""
        return tuple(connection.address for connection in self.connections if connection.answering)

    @property
    def uses(self) -> tuple[str, ...]:
        """Those that it publishes through."""
        return tuple(each.address for each in self.in_use)

    def proxy_of(self, topic: str) -> str:
        """The proxy through which a topic goes now; empty if none is there."""
        connection = self._topics.connection(topic)
        return connection.address if connection is not None else ""

    def start(self) -> None:
        """Connect to the proxies. Raises MeshError if an address or a key cannot be used."""
        for connection in self.connections:
            connection.open()
        self._tick()

    def add(self, address: str) -> None:
        """Use one more proxy. Raises MeshError if its address or the key cannot be used."""
        connection = self._connection_to(address)
        connection.open()
        self.connections.append(connection)
        self._coverage.welcome(connection)

    def _connection_to(self, address: str) -> ProxyConnection:
        return ProxyConnection(self._context, self._settings, address, next(self._numbers), self)

    def remove(self, connection: ProxyConnection) -> None:
        """Use a proxy no more whose connection has ended; what it may have lost was sent again then."""
        connection.close()
        self.connections.remove(connection)
        self._choose()
        self._owner.proxy_lost()

    def close(self) -> None:
        """Stop; what waits in the backlog is lost, and said so."""
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
    ) -> int:
        """Number a message of any kind and queue it; returns its number."""
        self.sequence = sequence = self.sequence + 1
        version = VERSION if kind == ANNOUNCEMENT else self.version
        header = encode_header(Header(version, kind, self.origin, sequence, event, codec, sender))
        frames = [topics.exact(topic), header, data]
        if kind in KEPT:
            message = NumberedMessage(sequence, topic, frames, time.monotonic())
            connection = None if self._backlog.messages else self._topics.connection(topic)
            if connection is None or not connection.send_kept(message):
                self._keep(message)
        elif kind == ANNOUNCEMENT:  # who has lost a proxy must hear it through another
            for each in self.connections:
                each.send(frames)
        else:
            connection = self._topics.connection(topic)
            if connection is not None:
                connection.send(frames)
        return sequence

    def probe(self, topic: str, connection: ProxyConnection) -> int:
        """Publish a probe through one proxy, behind all that was sent through it; returns its number."""
        self.sequence = sequence = self.sequence + 1
        header = Header(self.version, PROBE, self.origin, sequence, str(connection.index), 0)
        connection.probe(sequence, [topics.exact(topic), encode_header(header), b""])
        return sequence

    def echoed(self, connection: ProxyConnection, sequence: int) -> None:
        """A probe has come back: its proxy has taken all that was sent before it."""
        if connection.connected and connection.echoed(sequence):
            self._owner.paths_changed()
            self._choose()
        self._owner.probe_echoed()

    def doubt(self, connections: Collection[ProxyConnection]) -> None:
        """Until something comes back through these again, send what they took, and all else, other ways."""
        for connection in connections:
            connection.doubt()
        self._choose()

    def interrupted(self, connection: ProxyConnection) -> None:
        """What comes back from a proxy is interrupted: whether it works has to be found out again."""
        if connection.answering:
            connection.interrupt()
            self.proxy_connected(connection)
            self.proxy_lost(connection)

    def is_pending(self, first: int, last: int) -> bool:
        """Whether no proxy has confirmed one of the messages with these numbers yet."""
        return self._backlog.has_any(first, last) or any(
            connection.resend_buffer.untaken(first, last) for connection in self.connections
        )

    # Who hears which proxy

    def hears(self, node: str, proxies: Collection[str]) -> None:
        """A node has announced which proxies it hears."""
        self._coverage.hears(node, proxies, asyncio.get_running_loop().time())
        self._choose()

    def node_gone(self, node: str) -> None:
        """A node has stopped: from which proxies it received no longer matters."""
        if self._coverage.forget(node):
            self._choose()

    def _choose(self) -> None:
        """Use the proxies that everybody hears; send again what went through one that is used no more."""
        now = asyncio.get_running_loop().time()
        usable = self._coverage.usable(now, self._settings.listeners_seconds)
        if self._backlog.messages:  # what waits was published before any marker that could be sent now
            usable = [connection for connection in usable if connection in self.in_use] or usable
        if usable == self.in_use:
            return
        before, self.in_use = self.in_use, usable
        self._topics.use(usable)
        log.debug("proxies in use", proxies=[connection.address for connection in usable])
        kept = [connection for connection in before if connection in usable]
        gained = [connection for connection in usable if connection not in before]
        if kept and gained:
            self._mark(kept, gained)
        self._unsettled = self._unsettled or len(kept) < len(before)
        self._send_again([each for each in self.connections if each not in usable])
        self._owner.paths_changed()

    def _mark(self, kept: list[ProxyConnection], gained: list[ProxyConnection]) -> None:
        """Tell receivers that topics move: from here on, wait for what still comes the old ways."""
        self.sequence = boundary = self.sequence + 1
        header = encode_header(Header(self.version, MOVE, self.origin, boundary, "", 0))
        self._markers.send(header, kept, gained, asyncio.get_running_loop().time())

    def _send_again(self, connections: list[ProxyConnection]) -> None:
        lost = [
            message._replace(again=True)
            for each in connections
            for message in each.resend_buffer.take_all()
        ]
        if lost:
            log.warning("messages are sent again, a proxy may have lost them", messages=len(lost))
            counters.count("bus_messages_resent", len(lost))
            self._backlog.add_lost(lost)
        self._flush()

    # Time

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = now - self._ticked > 4 * TICK_SECONDS  # we were frozen: nothing can be said of others
        self._ticked = now
        topic = topics.of_sync(self.origin)
        for connection in self.connections:
            connection.resend_buffer.tick(now)
            if connection.answering:
                self.probe(topic, connection)
            owed_seconds = now - connection.answered_at
            silent = connection.answering and owed_seconds > self._settings.proxy_timeout_seconds
            if silent and not late and any(other is not connection for other in self.in_use):
                log.warning("proxy does not answer", proxy=connection.address)
                connection.lose()
        self._markers.repeat(now)
        patience = SILENT_ANNOUNCEMENTS * self._settings.announce_seconds
        for node in [] if late else self._coverage.silent(now, patience):
            self.node_gone(node)
        self._choose()
        self._timer = loop.call_later(TICK_SECONDS, self._tick)

    def proxy_connected(self, connection: ProxyConnection) -> None:
        """A proxy is there: find out whether its messages arrive as well."""
        FirstProbes(self, connection, self._owner.fresh_topic(connection), TICK_SECONDS).send()

    def proxy_lost(self, _connection: ProxyConnection) -> None:
        """A proxy is known not to be there, or not to answer."""
        self._owner.proxy_lost()
        self._owner.paths_changed()
        self._choose()

    # What waits

    def _keep(self, message: NumberedMessage) -> None:
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
        self._retry = loop.call_later(RETRY_SECONDS, self._flush_again, context=contexts.fresh())

    def _flush_again(self) -> None:
        self._retry = None
        self._flush()

    def _flush(self) -> None:
        while self._backlog.messages and self.in_use:
            message = self._backlog.messages[0]
            connection = self._topics.connection(message.topic)
            if connection is None or not connection.send_kept(message):
                if self._retry is None:
                    self._retry_later()
                return
            self._backlog.remove_first()
        if self._unsettled and self.in_use:  # what went through a lost proxy has been sent again
            self._unsettled = False
            self._mark(self.in_use, [])
