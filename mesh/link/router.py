"""The worker's end of its links: one ROUTER for all gateways.

ROUTER does not tell when a peer goes. The socket's monitor does, without saying which; so then every
gateway gets a Ping, and sending it to the dead one fails. The monitor may be quicker than the socket
itself, so there are several Pings, and one every second in any case.

A worker that was frozen for longer than the gateways' patience must not carry out what they sent before
they gave it up: on waking it first finds out, by Pings, which links are still there.
"""

import asyncio
from collections.abc import Callable

import zmq

from mesh.addresses import reachable
from mesh.errors import WireError
from mesh.link import commands
from mesh.link.batches import BATCHES_PER_TURN, Batches, bounds
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger
from mesh.versions import common
from mesh.zeromq import sockets
from mesh.zeromq.curve import LINKS, keys_of
from mesh.zeromq.drain import Drain

log = get_logger("mesh.link")

PING_SECONDS = 1.0
PINGS_AFTER_DISCONNECT_SECONDS = (0.0, 0.01, 0.1)
WAKING_SECONDS = 0.25
"""For libzmq to notice which connections have ended meanwhile."""


class Router:
    """Takes commands of all gateways.

    Args:
        bind: where to listen.

    Attributes:
        address: where gateways connect.
        key: the public CURVE key that they have to expect there, in Z85, if there is one.
        on_up: called with (link, gateway id) when a gateway says hello.
        on_command: called with (link, command).
        on_down: called with the link when a gateway is gone.
        on_gone: called with that gateway's id.
        on_behind: called with (link, whether much waits for its gateway) when that changes.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], worker: str, settings: LinkSettings, bind: str
    ) -> None:
        self.on_up: Callable[[bytes, str], None] = lambda *_: None
        self.on_command: Callable[[bytes, commands.ToWorker], None] = lambda *_: None
        self.on_down: Callable[[bytes], None] = lambda _: None
        self.on_gone: Callable[[str], None] = lambda _: None
        self.on_behind: Callable[[bytes, bool], None] = lambda *_: None
        self._worker = worker
        self._bounds = bounds(settings)
        self._links: dict[bytes, Batches] = {}
        self._gateways: dict[bytes, str] = {}
        self._versions: dict[bytes, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._patience = settings.heartbeat_timeout_seconds
        self._awake = asyncio.get_running_loop().time()
        self._waking: asyncio.TimerHandle | None = None
        self._held: list[list[bytes]] = []
        reachable(bind, settings.advertise_host)  # before there is a socket to close again
        self._socket = sockets.link_router(context, settings)
        bound, self._monitor = sockets.bound(self._socket, bind, LINKS)
        self.address = reachable(bound, settings.advertise_host)
        keys = keys_of(self._socket)
        self.key = keys.public.decode() if keys is not None else None
        self._drain = Drain(self._socket, self._message, BATCHES_PER_TURN)
        self._monitor_drain = Drain(self._monitor, self._disconnected)

    @property
    def links(self) -> int:
        """How many gateways are linked."""
        return len(self._links)

    @property
    def waiting_bytes(self) -> int:
        """What ZeroMQ has not taken yet, of all links."""
        return sum(batches.waiting_bytes for batches in self._links.values())

    def version(self, link: bytes) -> int:
        """Of a link; 0 if it is gone."""
        return self._versions.get(link, 0)

    def start(self) -> None:
        """Begin to read."""
        self._drain.start()
        self._monitor_drain.start()
        self._ping_again()

    def send(self, link: bytes, command: commands.ToGateway) -> int:
        """Queue a command for one gateway; returns how many were sent on its link, Welcome included.

        For a gateway that is gone it is dropped.
        """
        batches = self._links.get(link)
        if batches is None:
            return 0
        batches.add(command)
        return batches.count

    def close(self) -> None:
        """Send what there is and stop."""
        for batches in list(self._links.values()):
            batches.flush()
            batches.closed = True
        self._links.clear()
        for timer in (self._timer, self._waking):
            if timer is not None:
                timer.cancel()
        self._drain.close()
        self._monitor_drain.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _message(self, frames: list[bytes]) -> None:
        if self._was_frozen():
            self._held.append(frames)
        else:
            self._batch(frames)

    def _was_frozen(self) -> bool:
        """Whether this process stood still for so long that gateways may have given it up."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._awake > self._patience and self._waking is None:
            log.warning("this worker was frozen", seconds=round(now - self._awake, 1))
            self._ping()
            self._waking = loop.call_later(WAKING_SECONDS, self._woken)
        self._awake = now
        return self._waking is not None

    def _woken(self) -> None:
        for batches in list(self._links.values()):
            batches.add(commands.Ping())
            batches.flush()
        self._waking = None
        held, self._held = self._held, []
        for frames in held:
            self._batch(frames)

    def _batch(self, frames: list[bytes]) -> None:
        if len(frames) != 2:
            self._malformed(f"link message of {len(frames)} frames; want 2")
            return
        link, batch = frames
        try:
            received = commands.decode_to_worker(batch)
        except WireError as error:
            self._malformed(str(error))
            return
        for command in received:
            if isinstance(command, commands.Hello):
                self._hello(link, command)
            elif link in self._links:
                self.on_command(link, command)

    def _hello(self, link: bytes, hello: commands.Hello) -> None:
        version = common((commands.SPOKEN, hello.versions))
        if version is None:
            self._incompatible(link, hello)
            return
        if link in self._links:
            return
        self._links[link] = Batches(
            lambda batch: self._send(link, batch),
            lambda reason: self._too_far_behind(link, reason),
            self._bounds,
            commands.Ping(),
            lambda much: self.on_behind(link, much),
        )
        self._versions[link] = version
        self._gateways[link] = hello.gateway
        self.on_up(link, hello.gateway)
        self.send(link, commands.Welcome(version, self._worker))
        log.debug("gateway linked", gateway=hello.gateway)

    def _incompatible(self, link: bytes, hello: commands.Hello) -> None:
        counters.count("links_incompatible")
        log.error(
            "gateway speaks other versions of the link: upgrade one of the two",
            gateway=hello.gateway,
            theirs=str(hello.versions),
            ours=str(commands.SPOKEN),
        )
        self._send(link, commands.encode_batch([commands.Incompatible(*commands.SPOKEN)]))

    def _send(self, link: bytes, batch: bytes) -> bool:
        try:
            self._socket.send_multipart([link, batch], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            self._lost(link)
            return True
        else:
            return True
        finally:
            self._drain.look_again()

    def _disconnected(self, _frames: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        for seconds in PINGS_AFTER_DISCONNECT_SECONDS:
            loop.call_later(seconds, self._ping)

    def _ping_again(self) -> None:
        self._was_frozen()
        self._ping()
        self._timer = asyncio.get_running_loop().call_later(PING_SECONDS, self._ping_again)

    def _ping(self) -> None:
        for batches in list(self._links.values()):
            batches.add(commands.Ping())

    def _too_far_behind(self, link: bytes, reason: str) -> None:
        counters.count("links_given_up")
        gateway = self._gateways.get(link, "")
        log.error("gateway is too far behind: the link is given up", gateway=gateway, reason=reason)
        self._lost(link)

    def _lost(self, link: bytes) -> None:
        self._versions.pop(link, None)
        batches = self._links.pop(link, None)
        if batches is not None:
            batches.closed = True
            gateway = self._gateways.pop(link, "")
            log.warning("gateway is gone", gateway=gateway)
            self.on_down(link)
            self.on_gone(gateway)

    def _malformed(self, reason: str) -> None:
        counters.count("link_messages_malformed")
        log.warning("link message dropped", reason=reason)
