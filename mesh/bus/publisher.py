"""Numbers broadcasts and sends them to the proxy.

The proxy subscribes to everything; its subscription, read from our XPUB, tells that it is there.
While it is not, or its queue is full, messages wait in a bounded backlog; what does not fit is
dropped, counted and logged.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import zmq

from mesh import telemetry, topics
from mesh.bus.frames import BROADCAST, DIRECT, ONCE, VERSION, Header, encode_header
from mesh.messages import Sender
from mesh.telemetry import counters, get_logger, stats
from mesh.zeromq.drain import Drain

log = get_logger("mesh.bus")

RETRY_SECONDS = 0.005
KEPT = frozenset({BROADCAST, DIRECT, ONCE})
"""Kinds of messages that wait for the proxy; the others are repeated anyway."""


class Publisher:
    """One node's way onto the bus.

    Attributes:
        origin: the node's id.
        sequence: number of the last message published.
        on_broadcast: called with (topic, sequence) for each broadcast numbered.
        connected: whether the proxy is there.
        dropped: how many messages did not fit into the backlog.
    """

    def __init__(self, socket: zmq.Socket[bytes], origin: str, backlog_messages: int) -> None:
        self.origin = origin
        self.sequence = 0
        self.on_broadcast: Callable[[str, int], None] | None = None
        self._socket = socket
        self._drain = Drain(socket, self._subscription)
        self.connected = False
        self.dropped = 0
        self._backlog: deque[list[bytes]] = deque()
        self._backlog_messages = backlog_messages
        self._retry: asyncio.TimerHandle | None = None

    @property
    def backlog(self) -> int:
        """How many broadcasts wait for it."""
        return len(self._backlog)

    def start(self) -> None:
        """Begin to watch for the proxy."""
        self._drain.start()

    def close(self) -> None:
        """Stop; what waits in the backlog is lost, and said so."""
        if self._backlog:
            log.warning("messages not sent at stop", messages=len(self._backlog))
            counters.count("bus_backlog_dropped", len(self._backlog))
        if self._retry is not None:
            self._retry.cancel()
        self._drain.close()
        self._socket.close()

    def publish(self, topic: str, event: str, codec: int, data: bytes, sender: Sender | None) -> int:
        """Number a broadcast and queue it; returns its number."""
        sequence = self.publish_kind(BROADCAST, topic, event, codec, data, sender)
        stats.broadcasts += 1
        if telemetry.attached("broadcast"):
            telemetry.emit("broadcast", {"bytes": len(data)}, {"topic": topic, "event": event})
        if self.on_broadcast is not None:
            self.on_broadcast(topic, sequence)
        return sequence

    def publish_kind(
        self,
        kind: int,
        topic: str,
        event: str = "",
        codec: int = 0,
        data: bytes = b"",
        sender: Sender | None = None,
    ) -> int:
        """As `publish`, for announcements and probes as well: those are repeated anyway, not kept."""
        self.sequence = sequence = self.sequence + 1
        header = encode_header(Header(VERSION, kind, self.origin, sequence, event, codec, sender))
        frames = [topics.exact(topic), header, data]
        sent = self.connected and not self._backlog and self._send(frames)
        if not sent and kind in KEPT:
            self._keep(frames)
        return sequence

    def _send(self, frames: list[bytes]) -> bool:
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        else:
            return True
        finally:
            self._drain.look_again()

    def _keep(self, frames: list[bytes]) -> None:
        if len(self._backlog) >= self._backlog_messages:
            if not counters.value("bus_backlog_dropped"):
                log.error("bus backlog is full: messages are dropped", limit=self._backlog_messages)
            counters.count("bus_backlog_dropped")
            self.dropped += 1
            return
        self._backlog.append(frames)
        if self.connected and self._retry is None:
            self._retry_later()

    def _retry_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._retry = loop.call_later(RETRY_SECONDS, self._flush)

    def _flush(self) -> None:
        self._retry = None
        while self._backlog and self.connected:
            if not self._send(self._backlog[0]):
                self._retry_later()
                return
            self._backlog.popleft()

    def _subscription(self, frames: list[bytes]) -> None:
        connected = frames[0][:1] == b"\x01"
        if connected != self.connected:
            self.connected = connected
            log.debug("proxy is there" if connected else "proxy is gone", backlog=len(self._backlog))
            self._flush()
