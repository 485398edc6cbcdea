"""The receiving half of a node's bus: one SUB (ZeroMQ RFC 29), connected to all proxies.

A message that arrives a second time, because its publisher sent it again through another proxy, is
dropped, and so is one that was published before anybody here had subscribed to its topic. Bytes that are
not a bus message are counted, logged and dropped.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import zmq
from zmq.utils.monitor import parse_monitor_message

from mesh import tick_budget, topics
from mesh.addresses import subscribe_address
from mesh.bus.contract import OnBroadcast, OnMessage
from mesh.bus.frames import (
    ANNOUNCEMENT,
    ANSWER,
    BROADCAST,
    CALL,
    DIRECT,
    MOVE,
    ONCE,
    PROBE,
    Header,
    Received,
    decode_direct,
    decode_header,
)
from mesh.bus.zeromq.connect_failures import CANNOT_CONNECT, ConnectFailures
from mesh.bus.zeromq.duplicates import REMEMBERED_SECONDS, Duplicates
from mesh.bus.zeromq.failover import Reroutes
from mesh.errors import MeshError, WireError
from mesh.telemetry import Complaints, counters, get_logger, stats
from mesh.zeromq import sockets
from mesh.zeromq.curve import proxy_key
from mesh.zeromq.socket_reader import SocketReader

log = get_logger("mesh.bus")
_malformed = Complaints(log, "bus message dropped")

REFUSED_SECONDS = 1.0
"""libzmq does not try again after a failed handshake; we do, after this, with the key of that moment."""

NOT_YET = float("inf")
TICK_BUDGET_SECONDS = 2 * tick_budget.TICK_BUDGET_SECONDS
"""Twice the usual: replies wait for broadcasts, and whatever publishes more of them has to wait, too."""
_RESERVED = topics.RESERVED.encode()
_BROADCASTS = frozenset({BROADCAST, DIRECT})
_ONCE_ONLY = _BROADCASTS | {ONCE, CALL, ANSWER}
_FAILED = frozenset(
    {
        zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
        zmq.EVENT_HANDSHAKE_FAILED_AUTH,
        zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL,
    }
)


class Owner(Protocol):
    """What a subscriber tells the bus that it is part of."""

    def probe_arrived(self, topic: str, header: Header) -> None:
        """A probe of some node has come back."""

    def interrupted(self, proxy: str) -> None:
        """The connection from which this proxy's messages came has ended."""

    def unread_changed(self, unread: bool) -> None:
        """More has arrived than could be handled yet, or no longer."""


class Subscriber:
    """The SUB socket of a node.

    Args:
        socket: a SUB.
        proxies: their addresses.
        reroute_seconds: the longest time for which a message waits for earlier ones on another way.
        owner: is told what concerns the connections.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], proxies: Collection[str], reroute_seconds: float, owner: Owner
    ) -> None:
        self._owner = owner
        self._on_broadcast: Sequence[OnBroadcast] = ()
        self._on_message: Mapping[int, OnMessage] = {}
        self._socket = socket
        self._proxies = {subscribe_address(proxy): proxy for proxy in proxies}
        self._monitor = sockets.monitor(socket, zmq.EVENT_DISCONNECTED | sum(_FAILED))
        self._reader = SocketReader(
            socket, self._message, budget_seconds=TICK_BUDGET_SECONDS, on_behind=owner.unread_changed
        )
        self._monitor_reader = SocketReader(self._monitor, self._connection)
        self._counts: dict[bytes, int] = {}
        self._prefixes: set[bytes] = set()
        self._young: dict[bytes, float] = {}
        self._not_in_force: dict[bytes, None] = {}
        self._first: dict[bytes, dict[str, int]] = {}
        self._announced: dict[str, int] = {}
        self._duplicates = Duplicates()
        self._reroutes = Reroutes(self._deliver, reroute_seconds)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures = ConnectFailures()
        self.subscribe(topics.exact(topics.MOVES))

    def start(self, on_broadcast: Sequence[OnBroadcast], on_message: Mapping[int, OnMessage]) -> None:
        """Connect and begin to read.

        Args:
            on_broadcast: called with (topic, header, payload) of each broadcast.
            on_message: by kind: called with (header, payload) of each message between nodes.

        Raises:
            MeshError: if an address or a key cannot be used.
        """
        self._on_broadcast, self._on_message = on_broadcast, on_message
        self._reader.start()
        self._monitor_reader.start()
        self._tick()
        for address, proxy in self._proxies.items():
            sockets.connect(self._socket, address, proxy_key(self._socket, proxy))

    def add(self, proxy: str) -> None:
        """Receive from one more proxy. Raises MeshError if its address or the key cannot be used."""
        address = subscribe_address(proxy)
        sockets.connect(self._socket, address, proxy_key(self._socket, proxy))
        self._proxies[address] = proxy
        self._reader.look_again()

    def remove(self, proxy: str) -> None:
        """Try no more to hear a proxy whose connection has ended."""
        address = subscribe_address(proxy)
        if self._proxies.pop(address, None) is None:
            return
        self._failures.forget(proxy)
        timer = self._timers.pop(address, None)
        if timer is not None:
            timer.cancel()
        self._reader.read_now()  # what had come: libzmq drops it with the address
        self._disconnect(address)
        self._reader.look_again()

    def close(self) -> None:
        """Stop."""
        for timer in self._timers.values():
            timer.cancel()
        self._reroutes.close()
        self._monitor_reader.close()
        self._reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._socket.closed

    @property
    def unread(self) -> bool:
        """Whether more has come than could be handled yet."""
        return self._reader.behind

    def subscribe(self, subscription: bytes) -> None:
        """Receive what starts with these bytes; as often as it is undone."""
        count = self._counts.get(subscription, 0)
        self._counts[subscription] = count + 1
        if not count:
            self._young[subscription] = NOT_YET
            self._not_in_force[subscription] = None
            if not subscription.endswith(topics.TERMINATOR):
                self._prefixes.add(subscription)
            self._socket.setsockopt(zmq.SUBSCRIBE, subscription)
            self._reader.look_again()

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        count = self._counts[subscription] - 1
        if count:
            self._counts[subscription] = count
            return
        del self._counts[subscription]
        self._young.pop(subscription, None)
        self._not_in_force.pop(subscription, None)
        self._first.pop(subscription, None)
        self._prefixes.discard(subscription)
        self._socket.setsockopt(zmq.UNSUBSCRIBE, subscription)
        self._reader.look_again()

    def not_in_force(self) -> list[bytes]:
        """Subscriptions of which nobody knows yet whether the proxies have them."""
        return list(self._not_in_force)

    def in_force(self, subscriptions: Collection[bytes]) -> None:
        """The proxies have these."""
        now = time.monotonic()
        for subscription in subscriptions:
            if subscription in self._not_in_force:
                del self._not_in_force[subscription]
                self._young[subscription] = now

    def delivered(self, origin: str, sequence: int) -> bool:
        """Whether this message has come, or will not come any more."""
        return self._duplicates.has(origin, sequence)

    def _message(self, frames: list[bytes]) -> None:
        try:
            if len(frames) != 3:
                raise WireError(f"bus message of {len(frames)} frames; want 3")
            first, second, data = frames
            if first[:1] == _RESERVED and first not in self._counts:
                return  # the prefix "" takes what is meant for other nodes as well
            topic = topics.of_frame(first)
            header = decode_header(second)
            if header.kind == DIRECT:
                topic, data = decode_direct(data)
            elif header.kind == MOVE:
                return self._reroutes.marker(header, data)
        except MeshError as error:
            _malformed.about("unknown", "bus_messages_malformed", str(error))
            return
        if first in self._young:
            self._first.setdefault(first, {}).setdefault(header.origin, header.sequence)
        if header.age is not None and self._is_older_than_its_subscription(first, header):
            counters.count("bus_duplicates_dropped")
            return
        if header.kind not in _ONCE_ONLY:
            self._of_the_mesh(topic, header, data)
        elif not self._reroutes.under_way or not self._reroutes.hold(topic, header, data):
            self._deliver(topic, header, data)

    def _is_older_than_its_subscription(self, frame: bytes, header: Received) -> bool:
        """Whether a message that is sent again was published before anybody here could have it.

        It would come behind newer ones that have come already. Its age tells, up to the time that it was on
        its way; and the first that came to a new subscription.
        """
        assert header.age is not None
        published = time.monotonic() - header.age / 1000
        if header.sequence < self._first.get(frame, {}).get(header.origin, 0):
            published = 0.0
        since = (self._young.get(frame, 0.0) if frame in self._counts else NOT_YET,)
        prefixes = (self._young.get(each, 0.0) for each in self._prefixes if frame.startswith(each))
        return published < min(*since, *prefixes, NOT_YET)

    def _deliver(self, topic: str, header: Header, data: bytes) -> None:
        if not self._duplicates.is_new(header.origin, header.sequence):
            counters.count("bus_duplicates_dropped")
            return
        if header.kind not in _BROADCASTS:
            return self._of_the_mesh(topic, header, data)
        stats.bus_received += 1
        for handle in self._on_broadcast:
            handle(topic, header, data)

    def _of_the_mesh(self, topic: str, header: Header, data: bytes) -> None:
        if header.kind == PROBE:
            self._owner.probe_arrived(topic, header)
            return
        if header.kind == ANNOUNCEMENT:
            # They come through every proxy; a slow one must not bring back what was.
            if header.sequence < self._announced.get(header.origin, 0):
                return
            self._announced[header.origin] = header.sequence
        handle = self._on_message.get(header.kind)
        if handle is not None:  # else a kind this node has no use for, or of a later version
            handle(header, data)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        self._duplicates.tick(loop.time())
        long_ago = time.monotonic() - REMEMBERED_SECONDS
        for subscription in [each for each, since in self._young.items() if since < long_ago]:
            del self._young[subscription]
            self._first.pop(subscription, None)
        if len(self._announced) > 10_000:
            self._announced.clear()
        self._timers["tick"] = loop.call_later(REMEMBERED_SECONDS, self._tick)

    def _connection(self, frames: list[bytes]) -> None:
        event = parse_monitor_message(frames)
        address = event["endpoint"].decode(errors="replace")
        proxy = self._proxies.get(address)
        if proxy is None:
            return
        counters.count("bus_interruptions")
        log.warning("connection to a proxy ended: nothing comes through it now", proxy=proxy)
        self._owner.interrupted(proxy)
        if event["event"] in _FAILED and address not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[address] = loop.call_later(REFUSED_SECONDS, self._again, address, proxy)

    def _again(self, address: str, proxy: str) -> None:
        del self._timers[address]
        self._disconnect(address)
        try:
            sockets.connect(self._socket, address, proxy_key(self._socket, proxy))
        except CANNOT_CONNECT as error:
            self._failures.add(proxy, error)
            loop = asyncio.get_running_loop()
            self._timers[address] = loop.call_later(REFUSED_SECONDS, self._again, address, proxy)
        else:
            self._failures.forget(proxy)

    def _disconnect(self, address: str) -> None:
        try:
            self._socket.disconnect(address)
        except zmq.ZMQError:
            pass  # libzmq has given it up itself
