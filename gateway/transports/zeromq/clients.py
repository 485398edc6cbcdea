"""Clients over plain ZeroMQ: a DEALER each, one ROUTER for all (docs/protocol.md §1.2).

The first frame of a message says what it is; messages in the channels' protocol are those of WebSocket. A
client is named by its routing id; one that the gateway does not know, e.g. after a restart, is told so.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import zmq

from gateway.backlog import broadcast_frame, lost
from gateway.client import Client
from gateway.http.paths import without_empty
from gateway.hub import Hub
from gateway.ledger import CLIENT_GONE, Ledger
from gateway.transports.admission import RefusedError, admit
from gateway.transports.base import Encoding
from gateway.transports.idle_timer import IdleTimer
from gateway.transports.zeromq.client import BINARY, CLOSE, OPEN, PING, REFUSED, TEXT, ZeroMQClient
from mesh.endpoint import Endpoint
from mesh.errors import CloseCode
from mesh.mount import Mount
from mesh.serializers.base import Frame, Serializer
from mesh.serializers.registry import BY_NAME
from mesh.settings import GatewaySettings, ZeroMQSettings
from mesh.socket import ConnectInfo
from mesh.telemetry import counters, get_logger, shorten
from mesh.zeromq import sockets
from mesh.zeromq.curve import CLIENTS
from mesh.zeromq.drain import Drain

log = get_logger("gateway.zeromq")

UNKNOWN = 4000
"""Close code: this gateway knows no such client; open again."""
CHECK_SECONDS = 1.0
PROBES_PER_TURN = 1_000
PROBE_AGAIN_SECONDS = (0.01, 0.1, 1.0)
"""The monitor may be quicker than the socket itself: a dead client is still sent to for a moment."""
RETRY_SECONDS = 0.005


def _ready(frame: Frame) -> tuple[bytes, bytes]:
    return (BINARY if frame.binary else TEXT), frame.data


def _broadcast(frames: tuple[bytes, bytes], ledger: Ledger, event: str) -> tuple[bytes, bytes]:
    return frames[0], broadcast_frame(frames[1], ledger, event)


ENCODINGS: dict[Serializer, Encoding] = {
    each: Encoding(each, _ready, _broadcast) for each in BY_NAME.values()
}


class Opening(msgspec.Struct, forbid_unknown_fields=True):
    """What a client opens with, as JSON."""

    path: str
    params: dict[str, Any] = {}


_decode_opening = msgspec.json.Decoder(Opening).decode
_encode = msgspec.json.Encoder().encode


def read_opening(data: bytes) -> Opening:
    """What a client opens with. Raises RefusedError for anything else."""
    try:
        return _decode_opening(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise RefusedError(400, f"want JSON: path, params: {shorten(str(error))}") from None


class ZeroMQClients:
    """All ZeroMQ clients of a gateway.

    Attributes:
        address: where clients connect.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        hub: Hub,
        endpoint: Endpoint,
        gateway: GatewaySettings,
        settings: ZeroMQSettings,
        bind: str,
    ) -> None:
        self.hub = hub
        self.gateway = gateway
        self._settings = settings
        self._mounts = [(mount.pattern, mount) for mount in endpoint.mounts.values()]
        self._loop = asyncio.get_running_loop()
        self._clients: dict[bytes, ZeroMQClient] = {}
        self._blocked: dict[ZeroMQClient, None] = {}
        self._retry: asyncio.TimerHandle | None = None
        self._openings: set[asyncio.Task[None]] = set()
        self._given_up: set[asyncio.Task[None]] = set()
        self._to_probe: deque[ZeroMQClient] = deque()
        self._rounds: list[float] = []
        self._probing = False
        self._socket = sockets.client_router(context, settings, gateway.max_frame_bytes)
        self.address, self._monitor = sockets.bound(self._socket, bind, CLIENTS)
        self._gone: list[ZeroMQClient] = []
        self._drain = Drain(self._socket, self._message)
        self._drain.on_behind = lambda behind: None if behind else self._end_gone()
        self._monitor_drain = Drain(self._monitor, self._disconnected)
        self._idle_timer = IdleTimer(CHECK_SECONDS, self._check_idle)

    def start(self) -> None:
        """Begin to read."""
        self._drain.start()
        self._monitor_drain.start()

    def close(self) -> None:
        """Stop; the hub has closed the clients."""
        self._idle_timer.cancel()
        if self._retry is not None:
            self._retry.cancel()
        for opening in self._openings:
            opening.cancel()
        self._drain.close()
        self._monitor_drain.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()
        self._to_probe.clear()
        self._rounds = []

    # For clients

    def send(self, client: ZeroMQClient, frames: tuple[bytes, bytes]) -> bool:
        """Send to a client; False if its queue is full now."""
        try:
            self._socket.send_multipart((client.identity, *frames), zmq.NOBLOCK)
        except zmq.Again:
            self._blocked[client] = None
            if self._retry is None:
                self._retry = self._loop.call_later(RETRY_SECONDS, self._flush)
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._drain.look_again()  # what it said before it went is read first
            if not self._gone:
                self._loop.call_soon(self._end_gone)
            self._gone.append(client)
            lost(frames[1], CLIENT_GONE)
            return True
        else:
            return True
        finally:
            self._drain.look_again()

    def say(self, identity: bytes, kind: bytes, content: dict[str, Any]) -> None:
        """Tell a client something of the connection; if it is gone or does not read, it misses that."""
        try:
            self._socket.send_multipart((identity, kind, _encode(content)), zmq.NOBLOCK)
        except zmq.ZMQError:
            pass
        self._drain.look_again()

    def forget(self, client: ZeroMQClient) -> None:
        """A client is over; if it is still being let in, that ends too."""
        if self._clients.get(client.identity) is client:
            del self._clients[client.identity]
        self._blocked.pop(client, None)
        opening = client.opening
        if opening is not None and opening is not asyncio.current_task():
            self._given_up.add(opening)
            opening.cancel()

    # From the socket

    def _message(self, frames: list[bytes]) -> None:
        identity, *rest = frames
        if not 0 < len(rest) <= 2:
            counters.count("frames_malformed")
            return self.say(identity, CLOSE, _closing(CloseCode.PROTOCOL_ERROR, "want one or two frames"))
        handle = _KINDS.get(rest[0])
        if handle is None:
            counters.count("frames_malformed")
            return self._end(identity, CloseCode.PROTOCOL_ERROR, f"no message begins with {rest[0][:8]!r}")
        handle(self, identity, rest[1] if len(rest) == 2 else b"")

    def _opened(self, identity: bytes, data: bytes) -> None:
        old = self._clients.get(identity)
        # A `connect` that was given up counts until it has ended: it may take its time.
        others = len(self._clients) + len(self._given_up) - (old is not None)
        if old is not None:  # it has started anew
            old.gone()
        if len(data) > self.gateway.max_frame_bytes:
            reason = f"opening of {len(data)} bytes (gateway.max_frame_bytes)"
            return self._tell_refused(identity, 413, reason)
        if others >= self._settings.max_clients:
            log.error("too many ZeroMQ clients", limit=self._settings.max_clients)
            return self._tell_refused(identity, 503, "too many clients; come later")
        client = self._clients[identity] = ZeroMQClient(self, identity)
        opening = client.opening = self._loop.create_task(self._open(client, data), name="zeromq client")
        self._openings.add(opening)
        opening.add_done_callback(partial(self._opening_ended, client))

    def _opening_ended(self, client: ZeroMQClient, opening: asyncio.Task[None]) -> None:
        client.opening = None
        self._openings.discard(opening)
        self._given_up.discard(opening)

    async def _open(self, client: ZeroMQClient, data: bytes) -> None:
        try:
            mount, params = self._find(data)
            info = ConnectInfo(transport="zeromq", uri=self.address + mount.path, extra=mount.connect_info)
            admitted = await admit(mount, info, params)
        except RefusedError as refused:
            reason = "connect raised" if refused.status == 500 else refused.sentence or "refused"
            return self._refuse(client, refused.status, reason)
        if admitted.socket_id is not None:
            await self.hub.socket_ids.subscribe(admitted.socket_id)
        if client.over:  # gone meanwhile
            if admitted.socket_id is not None:
                self.hub.socket_ids.unsubscribe(admitted.socket_id)
            return
        encoding = ENCODINGS[admitted.serializer]
        client.client = Client(mount.path, admitted.socket_id, admitted.assigns, encoding, client, client)
        self.hub.connect(client.client, mount)
        idle = self.gateway.idle_timeout_seconds
        self.say(client.identity, OPEN, {"idle_timeout_seconds": idle})
        client.resume()

    def _find(self, data: bytes) -> tuple[Mount, dict[str, Any]]:
        opening = read_opening(data)
        path = without_empty(opening.path)
        for pattern, mount in self._mounts:
            match = pattern.fullmatch(path)
            if match is not None and mount.zeromq:
                return mount, opening.params | match.groupdict()
        raise RefusedError(404, f"no socket at {opening.path[:80]!r}")

    def _refuse(self, client: ZeroMQClient, status: int, reason: str) -> None:
        if client.over:
            return  # its identity may be another's by now
        client.over = True
        self.forget(client)
        self._tell_refused(client.identity, status, reason)

    def _tell_refused(self, identity: bytes, status: int, reason: str) -> None:
        counters.count("connections_refused")
        self.say(identity, REFUSED, {"status": status, "reason": reason})

    def _text(self, identity: bytes, data: bytes) -> None:
        client = self._heard(identity)
        if client is not None:
            client.received(data, False)

    def _binary(self, identity: bytes, data: bytes) -> None:
        client = self._heard(identity)
        if client is not None:
            client.received(data, True)

    def _ping(self, identity: bytes, data: bytes) -> None:
        client = self._heard(identity)
        if client is not None:
            client.answer_ping(data[:125])

    def _left(self, identity: bytes, _data: bytes) -> None:
        client = self._clients.get(identity)
        if client is not None:
            client.gone()

    def _heard(self, identity: bytes) -> ZeroMQClient | None:
        client = self._clients.get(identity)
        if client is None:
            self.say(identity, CLOSE, _closing(UNKNOWN, "this gateway does not know you; open first"))
            return None
        client.heard = self._loop.time()
        return client

    def _end(self, identity: bytes, code: int, reason: str) -> None:
        client = self._clients.get(identity)
        if client is None:
            self.say(identity, CLOSE, _closing(code, reason))
        else:
            client.end(code, reason)

    # Who is still there

    def _end_gone(self) -> None:
        if self._drain.behind:
            return  # when all is read
        gone, self._gone = self._gone, []
        for client in gone:
            client.gone()

    def _flush(self) -> None:
        self._retry = None
        for client in list(self._blocked):
            if client.flush():
                self._blocked.pop(client, None)
        if self._blocked and self._retry is None:
            self._retry = self._loop.call_later(RETRY_SECONDS, self._flush)

    def _disconnected(self, _frames: list[bytes]) -> None:
        """Somebody's connection ended; ZeroMQ does not say whose. Sending to them will."""
        self._rounds = list(PROBE_AGAIN_SECONDS)
        if not self._probing:
            self._probing = True
            self._begin_round()

    def _begin_round(self) -> None:
        self._to_probe = deque(self._clients.values())
        self._probe()

    def _probe(self) -> None:
        if self._socket.closed:
            return
        for _ in range(min(PROBES_PER_TURN, len(self._to_probe))):
            client = self._to_probe.popleft()
            if not client.over and client.client is not None:
                client.probe()
        if self._to_probe:
            self._loop.call_later(RETRY_SECONDS, self._probe)
        elif self._rounds:
            self._loop.call_later(self._rounds.pop(0), self._begin_round)
        else:
            self._probing = False

    def _check_idle(self, now: float) -> None:
        oldest = now - self.gateway.idle_timeout_seconds
        for client in [each for each in self._clients.values() if each.heard < oldest]:
            client.end(CloseCode.PROTOCOL_ERROR, "idle")


def _closing(code: int, reason: str) -> dict[str, Any]:
    return {"code": int(code), "reason": reason}


_KINDS: dict[bytes, Callable[[ZeroMQClients, bytes, bytes], None]] = {
    OPEN: ZeroMQClients._opened,
    TEXT: ZeroMQClients._text,
    BINARY: ZeroMQClients._binary,
    PING: ZeroMQClients._ping,
    CLOSE: ZeroMQClients._left,
}
