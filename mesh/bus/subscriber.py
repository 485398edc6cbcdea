"""Subscriptions of one node, and what arrives for them.

Bytes that are not a bus message are counted, logged and dropped; nobody else notices.
"""

from collections.abc import Callable

import zmq

from mesh import topics
from mesh.bus.frames import ANNOUNCEMENT, BROADCAST, DIRECT, PROBE, Header, decode_direct, decode_header
from mesh.errors import MeshError, WireError
from mesh.telemetry import counters, get_logger
from mesh.zeromq.drain import Drain

log = get_logger("mesh.bus")

_RESERVED = topics.RESERVED.encode()


class Subscriber:
    """One node's ear on the bus.

    Attributes:
        on_broadcast: called with (topic, header, payload) for each broadcast.
        listeners: likewise, before it.
        on_announcement: called with the payload of each node's announcement.
        on_probe: called with the topic of each probe.
        on_other: by kind of message: called with (header, payload).
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.on_broadcast: Callable[[str, Header, bytes], None] = lambda *_: None
        self.listeners: tuple[Callable[[str, Header, bytes], None], ...] = ()
        self.on_announcement: Callable[[bytes], None] = lambda _: None
        self.on_probe: Callable[[str], None] = lambda _: None
        self.on_other: dict[int, Callable[[Header, bytes], None]] = {}
        self._socket = socket
        self._drain = Drain(socket, self._message)
        self._counts: dict[bytes, int] = {}

    def start(self) -> None:
        """Begin to read."""
        self._drain.start()

    def close(self) -> None:
        """Stop."""
        self._drain.close()
        self._socket.close()

    def subscribe(self, subscription: bytes) -> None:
        """Receive what starts with these bytes; as often as it is undone."""
        count = self._counts.get(subscription, 0)
        self._counts[subscription] = count + 1
        if not count:
            self._socket.setsockopt(zmq.SUBSCRIBE, subscription)
            self._drain.look_again()

    def unsubscribe(self, subscription: bytes) -> None:
        """Undo one `subscribe`."""
        count = self._counts[subscription] - 1
        if count:
            self._counts[subscription] = count
            return
        del self._counts[subscription]
        self._socket.setsockopt(zmq.UNSUBSCRIBE, subscription)
        self._drain.look_again()

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
        except MeshError as error:
            counters.count("bus_messages_malformed")
            log.warning("bus message dropped", reason=str(error))
            return
        if header.kind in (BROADCAST, DIRECT):
            for listen in self.listeners:
                listen(topic, header, data)
            self.on_broadcast(topic, header, data)
        elif header.kind == ANNOUNCEMENT:
            self.on_announcement(data)
        elif header.kind == PROBE:
            self.on_probe(topic)
        else:
            handle = self.on_other.get(header.kind)
            if handle is not None:  # a kind this node has no use for, or of a later version
                handle(header, data)
