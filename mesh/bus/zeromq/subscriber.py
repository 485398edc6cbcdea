"""The receiving half of a node's bus: one SUB (ZeroMQ RFC 29), connected to all proxies.

A received message passes these steps, in this order:

1. Its frames are decoded. A malformed message is counted, logged and dropped.
2. If it was sent again after a failure, and is older than our subscription to its topic, it is dropped:
   newer messages have already been delivered, and it must not follow them.
3. If its topic may have moved to another proxy, it is held until earlier messages have arrived
   (failover.py).
4. If it has arrived before, through another proxy, it is dropped (duplicates.py).
5. The handlers of its kind are called.

Messages of kinds that are not in `frames.RESENT_KINDS` skip steps 3 and 4: they are never sent again after
a failure, and their receivers tolerate any order.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from mesh import tick_budget
from mesh.addresses import subscribe_address
from mesh.app import topics
from mesh.bus.contract import OnBroadcast, OnMessage
from mesh.bus.frames import (
    ANNOUNCEMENT,
    BROADCAST,
    DIRECT,
    MOVE,
    PROBE,
    RECORDED,
    RESENT_KINDS,
    Header,
    Received,
    decode_direct,
    decode_header,
)
from mesh.bus.zeromq.duplicates import MAX_ORIGINS, REMEMBERED_SECONDS, Duplicates
from mesh.bus.zeromq.failover import Reroutes
from mesh.bus.zeromq.reconnects import Reconnects
from mesh.errors import MeshError, WireError
from mesh.telemetry import Complaints, counters, get_logger, stats
from mesh.zeromq import sockets
from mesh.zeromq.curve import proxy_key
from mesh.zeromq.socket_reader import SocketReader

log = get_logger(__name__)
_malformed = Complaints(log, "bus message dropped")

MAX_SUBSCRIPTION_BYTES = 128
"""Longer subscriptions are cut, and the remaining bytes are compared here: libzmq uses some 50 bytes of
memory for each byte of a subscription, in every proxy and every subscriber."""

NOT_YET = float("inf")
TICK_BUDGET_SECONDS = 2 * tick_budget.TICK_BUDGET_SECONDS
"""Twice the usual time: replies wait for broadcasts, so whatever causes more of them must wait, too."""
_RESERVED = topics.RESERVED.encode()
_HANDSHAKE_FAILURES = frozenset(
    {
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
        zmq.EVENT_HANDSHAKE_FAILED_AUTH,
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    }
)


class Owner(Protocol):
    """The bus that a subscriber is part of."""

    def probe_arrived(self, topic: str, header: Header) -> None:
        """A probe of some node has arrived."""

    def interrupted(self, proxy: str) -> None:
        """The connection to this proxy has ended, through which its messages came."""

    def unread_changed(self, unread: bool) -> None:
        """Report whether messages have arrived that have not been handled yet."""


class Subscriber:
    """The SUB socket of a node.

    Args:
        socket: a SUB.
        proxies: the addresses of the proxies.
        reroute_seconds: the longest time for which a message is held for earlier ones on another path.
        owner: informed about connections and probes.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], proxies: Collection[str], reroute_seconds: float, owner: Owner
    ) -> None:
        self._owner = owner
        self._broadcast_handlers: Mapping[int, Sequence[OnBroadcast]] = {}
        self._message_handlers: Mapping[int, OnMessage] = {}
        self._socket = socket
        self._proxies = {subscribe_address(proxy): proxy for proxy in proxies}
        self._monitor = sockets.monitor(socket, zmq.EVENT_DISCONNECTED | sum(_HANDSHAKE_FAILURES))
        self._reader = SocketReader(
            socket, self._on_frames, budget_seconds=TICK_BUDGET_SECONDS, on_behind=owner.unread_changed
        )
        self._monitor_reader = SocketReader(self._monitor, self._on_monitor_event)
        self._subscription_counts: dict[bytes, int] = {}
        self._prefixes: set[bytes] = set()
        self._in_force_since: dict[bytes, float] = {}
        self._not_in_force: dict[bytes, None] = {}
        self._first_sequences: dict[bytes, dict[str, int]] = {}
        self._last_announcements: dict[str, int] = {}
        self._duplicates = Duplicates()
        self._forgotten_origins = 0
        self._reroutes = Reroutes(self._deliver, reroute_seconds)
        self._timer: asyncio.TimerHandle | None = None
        self._reconnects = Reconnects(socket)
        self._ignored_origin = ""
        self._prefix_subscriptions: Collection[str] = ()
        self.subscribe(topics.exact(topics.MOVES))

    def ignore_own(self, node: str, prefixes: Collection[str]) -> None:
        """Do not deliver what this node has recorded, except on topics that it subscribes to exactly.

        Args:
            node: the id of this node.
            prefixes: nothing is ignored while this is not empty.
        """
        self._ignored_origin, self._prefix_subscriptions = node, prefixes

    def start(
        self,
        on_broadcast: Sequence[OnBroadcast],
        on_recorded: Sequence[OnBroadcast],
        on_message: Mapping[int, OnMessage],
    ) -> None:
        """Connect and begin to read.

        Args:
            on_broadcast: called with (topic, header, payload) of each broadcast.
            on_recorded: the same, of each recorded broadcast and claim.
            on_message: by kind, called with (header, payload) of each message between nodes.

        Raises:
            MeshError: if an address or a key cannot be used.
        """
        self._broadcast_handlers = {
            BROADCAST: on_broadcast,
            DIRECT: on_broadcast,
            RECORDED: on_recorded,
        }
        self._message_handlers = on_message
        self._reader.start()
        self._monitor_reader.start()
        self._tick()
        for address, proxy in self._proxies.items():
            sockets.connect(self._socket, address, proxy_key(self._socket, proxy))

    def add(self, proxy: str) -> None:
        """Connect to another proxy. Raises MeshError if its address or the key cannot be used."""
        address = subscribe_address(proxy)
        sockets.connect(self._socket, address, proxy_key(self._socket, proxy))
        self._proxies[address] = proxy
        self._reader.read_soon()

    def remove(self, proxy: str) -> None:
        """Stop connecting to a proxy whose connection has ended."""
        address = subscribe_address(proxy)
        if self._proxies.pop(address, None) is None:
            return
        self._reader.read_now()  # what has arrived: libzmq drops it together with the address
        self._reconnects.forget(address, proxy)
        self._reader.read_soon()

    def close(self) -> None:
        """Close the socket."""
        if self._timer is not None:
            self._timer.cancel()
        self._reconnects.close()
        self._reroutes.close()
        self._monitor_reader.close()
        self._reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self._socket.closed

    @property
    def unread(self) -> bool:
        """Whether messages have arrived that have not been handled yet."""
        return self._reader.behind

    def subscribe(self, subscription: bytes) -> None:
        """Receive messages whose topic starts with these bytes. Calls are counted."""
        count = self._subscription_counts.get(subscription, 0)
        self._subscription_counts[subscription] = count + 1
        if not count:
            self._in_force_since[subscription] = NOT_YET
            self._not_in_force[subscription] = None
            if not subscription.endswith(topics.TERMINATOR):
                self._prefixes.add(subscription)
            self._socket.setsockopt(zmq.SUBSCRIBE, subscription[:MAX_SUBSCRIPTION_BYTES])
            self._reader.read_soon()

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        count = self._subscription_counts[subscription] - 1
        if count:
            self._subscription_counts[subscription] = count
            return
        del self._subscription_counts[subscription]
        self._in_force_since.pop(subscription, None)
        self._not_in_force.pop(subscription, None)
        self._first_sequences.pop(subscription, None)
        self._prefixes.discard(subscription)
        self._socket.setsockopt(zmq.UNSUBSCRIBE, subscription[:MAX_SUBSCRIPTION_BYTES])
        self._reader.read_soon()

    def not_in_force(self) -> list[bytes]:
        """Return the subscriptions that the proxies may not have received yet."""
        return list(self._not_in_force)

    def in_force(self, subscriptions: Collection[bytes]) -> None:
        """Record that the proxies have these subscriptions."""
        now = time.monotonic()
        for subscription in subscriptions:
            if subscription in self._not_in_force:
                del self._not_in_force[subscription]
                self._in_force_since[subscription] = now

    def delivered(self, origin: str, sequence: int) -> bool:
        """Return whether this message has been handled, or will never arrive."""
        return self._duplicates.has(origin, sequence)

    def _on_frames(self, frames: list[bytes]) -> None:
        try:
            if len(frames) != 3:
                raise WireError(f"bus message of {len(frames)} frames; want 3")
            first, second, data = frames
            if first[:1] == _RESERVED and first not in self._subscription_counts:
                return  # the prefix "" also matches messages that are meant for other nodes
            if len(first) > MAX_SUBSCRIPTION_BYTES and not self._is_subscribed(first):
                return  # only the beginning of its topic is that of a subscription
            header = decode_header(second)
            if header.origin == self._ignored_origin and self._is_ignored(first, header):
                if self._duplicates.is_new(header.origin, header.sequence):
                    stats.bus_received += 1
                return
            topic = topics.of_frame(first)
            if header.kind == DIRECT:
                topic, data = decode_direct(data)
            elif header.kind == MOVE:
                return self._reroutes.handle_marker(header, data)
        except MeshError as error:
            _malformed.about("unknown", "bus_messages_malformed", str(error))
            return
        if first in self._in_force_since:
            numbers = self._first_sequences.setdefault(first, {})
            if len(numbers) < MAX_ORIGINS:
                numbers.setdefault(header.origin, header.sequence)
        if header.age is not None and self._is_older_than_its_subscription(first, header):
            counters.count("bus_duplicates_dropped")
            return
        if header.kind not in RESENT_KINDS:
            self._handle_node_message(topic, header, data)
        elif not self._reroutes.in_progress or not self._reroutes.hold(topic, header, data):
            self._deliver(topic, header, data)

    def _is_ignored(self, frame: bytes, header: Received) -> bool:
        """Return whether a message of this node need not be delivered; its number must be noted even so."""
        return (
            header.kind == RECORDED
            and frame not in self._subscription_counts
            and not self._prefix_subscriptions
        )

    def _is_subscribed(self, frame: bytes) -> bool:
        return frame in self._subscription_counts or any(map(frame.startswith, self._prefixes))

    def _is_older_than_its_subscription(self, frame: bytes, header: Received) -> bool:
        """Return whether a message that was sent again was published before this node subscribed to its
        topic.

        Newer messages have already been delivered, so it would be out of order. There are two indications:
        its age, which does not include its time in transit; and the first number that came to a new
        subscription.
        """
        assert header.age is not None
        published = time.monotonic() - header.age / 1000
        if header.sequence < self._first_sequences.get(frame, {}).get(header.origin, 0):
            published = 0.0
        since = (self._in_force_since.get(frame, 0.0) if frame in self._subscription_counts else NOT_YET,)
        prefixes = (
            self._in_force_since.get(each, 0.0) for each in self._prefixes if frame.startswith(each)
        )
        return published < min(*since, *prefixes, NOT_YET)

    def _deliver(self, topic: str, header: Received, data: bytes) -> None:
        if not self._duplicates.is_new(header.origin, header.sequence):
            counters.count("bus_duplicates_dropped")
            return
        handlers = self._broadcast_handlers.get(header.kind)
        if handlers is None:
            return self._handle_node_message(topic, header, data)
        stats.bus_received += 1
        for handle in handlers:
            handle(topic, header, data)

    def _handle_node_message(self, topic: str, header: Header, data: bytes) -> None:
        if header.kind == PROBE:
            self._owner.probe_arrived(topic, header)
            return
        if header.kind == ANNOUNCEMENT:
            # They come through every proxy; a slow one must not restore an outdated state.
            if header.sequence < self._last_announcements.get(header.origin, 0):
                return
            self._last_announcements[header.origin] = header.sequence
        handle = self._message_handlers.get(header.kind)
        if handle is not None:  # otherwise this node does not use the kind, or does not know it
            handle(header, data)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._duplicates.tick(loop.time())
        self._report_forgotten_origins()
        long_ago = time.monotonic() - REMEMBERED_SECONDS
        for subscription in [each for each, since in self._in_force_since.items() if since < long_ago]:
            del self._in_force_since[subscription]
            self._first_sequences.pop(subscription, None)
        if len(self._last_announcements) > 10_000:
            self._last_announcements.clear()
        self._timer = loop.call_later(REMEMBERED_SECONDS, self._tick)

    def _report_forgotten_origins(self) -> None:
        forgotten = self._duplicates.origins_forgotten - self._forgotten_origins
        if forgotten and not self._forgotten_origins:
            log.warning("too many nodes on the bus: some are forgotten", limit=MAX_ORIGINS)
        counters.count("bus_origins_forgotten", forgotten)
        self._forgotten_origins += forgotten

    def _on_monitor_event(self, frames: list[bytes]) -> None:
        event = parse_monitor_message(frames)
        address = event["endpoint"].decode(errors="replace")
        proxy = self._proxies.get(address)
        if proxy is None:
            return
        counters.count("bus_interruptions")
        log.warning("connection to a proxy ended: nothing is received from it now", proxy=proxy)
        self._owner.interrupted(proxy)
        if event["event"] in _HANDSHAKE_FAILURES:
            self._reconnects.later(address, proxy)
