"""The worker's end of its links: one ROUTER for all gateways.

ROUTER does not tell when a peer goes. The socket's monitor does, without saying which; so then every
gateway gets a Ping, and sending it to the dead one fails. The monitor may be quicker than the socket
itself, so there are several Pings, and one every second in any case.

A worker that was frozen for longer than the gateways' patience must not carry out what they sent before
they gave it up: on waking it first finds out, by Pings, which links are still there.
"""

import asyncio
import random
from collections.abc import Callable

import zmq

from mesh.addresses import reachable
from mesh.errors import WireError
from mesh.link import commands
from mesh.link.backoff import Backoff, End
from mesh.link.batches import BATCHES_PER_TURN, Batches, bounds
from mesh.link.malformed import Malformed, Unknown, read_to_worker
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger
from mesh.versions import common
from mesh.zeromq import sockets
from mesh.zeromq.curve import LINKS, keys_of
from mesh.zeromq.socket_reader import SocketReader

log = get_logger("mesh.link")
_chance = random.SystemRandom().random

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
        on_malformed: called with (link, channel) for a command that names one, but cannot be read.
        on_down: called with the link when a gateway is gone.
        on_gone: called with that gateway's id.
        on_behind: called with (link, whether much waits for its gateway) when that changes.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], worker: str, settings: LinkSettings, bind: str
    ) -> None:
        self.on_up: Callable[[bytes, str], None] = lambda *_: None
        self.on_command: Callable[[bytes, commands.ToWorker], None] = lambda *_: None
        self.on_malformed: Callable[[bytes, int], None] = lambda *_: None
        self.on_down: Callable[[bytes], None] = lambda _: None
        self.on_gone: Callable[[str], None] = lambda _: None
        self.on_behind: Callable[[bytes, bool], None] = lambda *_: None
        self._worker = worker
        self._bounds = bounds(settings)
        self._links: dict[bytes, Batches] = {}
        self._gateways: dict[bytes, str] = {}
        self._versions: dict[bytes, int] = {}
        self._heard: dict[bytes, float] = {}
        self._up_since: dict[bytes, float] = {}
        self._backoff = Backoff()
        self._said: set[str] = set()
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
        self._reader = SocketReader(self._socket, self._message, BATCHES_PER_TURN)
        self._monitor_reader = SocketReader(self._monitor, self._disconnected)

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
        self._reader.start()
        self._monitor_reader.start()
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
        self._reader.close()
        self._monitor_reader.close()
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
        link = frames[0]
        known = link in self._links
        if known:
            self._heard[link] = asyncio.get_running_loop().time()
        try:
            if len(frames) != 2:
                raise WireError(f"link message of {len(frames)} frames; want 2")
            received = read_to_worker(frames[1])
        except WireError as error:
            self._broken(link, str(error))
            return
        unreadable = None
        for command in received:
            kind = type(command)
            if kind is commands.Hello:
                self._hello(link, command)  # type: ignore[arg-type]
            elif link not in self._links:
                continue
            elif kind is Malformed or kind is Unknown:
                unreadable = self._malformed(link, command) or unreadable  # type: ignore[arg-type]
            else:
                self._carry_out(link, command)  # type: ignore[arg-type]
        if unreadable is not None:
            self._broken(link, unreadable)

    def _carry_out(self, link: bytes, command: commands.ToWorker) -> None:
        try:
            self.on_command(link, command)
        except Exception as error:  # the commands behind it are not to blame
            counters.count("handlers_failed")
            log.error("handling a command failed", gateway=self._gateways.get(link), exc_info=error)
            channel = getattr(command, "channel", None)
            if channel is not None:
                self.on_malformed(link, channel)

    def _malformed(self, link: bytes, command: Malformed | Unknown) -> str | None:
        """End the channels that it names; returns why the link must end, if it names none."""
        if type(command) is Malformed and not command.attributed:
            return command.reason
        counters.count("link_commands_malformed")
        if type(command) is Malformed:
            reason = command.reason
            self._say("gateway sends a malformed command: its channel crashes", link, reason=reason)
            for channel in command.channels:
                self.on_malformed(link, channel)
        return None

    def _broken(self, link: bytes, reason: str) -> None:
        """What a peer says cannot be read: its link ends, and its gateway is told, as far as it reads."""
        counters.count("link_messages_malformed")
        if link not in self._links:
            self._say("link message of a stranger dropped", link, reason=reason)
            return
        gateway, now = self._gateways[link], asyncio.get_running_loop().time()
        if self._backoff.failed(gateway, End.PROTOCOL, now - self._up_since[link], now, _chance()):
            log.error("gateway breaks the link protocol: the link ends", gateway=gateway, reason=reason)
        self._end(link)

    def _end(self, link: bytes) -> None:
        self._send(link, commands.encode_batch([commands.Welcome(commands.ENDED, self._worker)]))
        self._lost(link)

    def _say(self, event: str, link: bytes, **fields: object) -> None:
        """Log it once for each gateway, and once for all strangers."""
        gateway = self._gateways.get(link, "")
        if gateway not in self._said:
            live = {"", gateway, *self._gateways.values()}
            self._said = (self._said | {gateway}) & live
            log.error(event, gateway=gateway, **fields)

    def gateway_silent(self, gateway: str, seconds: float) -> bool:
        """End the links of a gateway over which nothing has come for so long; whether any is left."""
        self._reader.read_now()
        since = asyncio.get_running_loop().time() - seconds
        links = [link for link, each in self._gateways.items() if each == gateway]
        silent = [link for link in links if self._heard[link] < since]
        for link in silent:
            log.warning("gateway says nothing, neither on the link nor on the bus", gateway=gateway)
            self._end(link)
        return len(silent) < len(links)

    def _hello(self, link: bytes, hello: commands.Hello) -> None:
        if link in self._links:
            return
        version = common((commands.SPOKEN, hello.versions))
        if version is None:
            self._incompatible(link, hello)
            return
        now = asyncio.get_running_loop().time()
        if self._backoff and self._backoff.waits(hello.gateway, now):
            self._send(link, commands.encode_batch([commands.Welcome(commands.ENDED, self._worker)]))
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
        self._heard[link] = self._up_since[link] = now
        self.on_up(link, hello.gateway)
        self.send(link, commands.Welcome(version, self._worker))
        log.debug("gateway linked", gateway=hello.gateway)

    def _incompatible(self, link: bytes, hello: commands.Hello) -> None:
        counters.count("links_incompatible")
        now = asyncio.get_running_loop().time()
        if self._backoff.failed(hello.gateway, End.PROTOCOL, 0.0, now, _chance()):
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
            self._reader.look_again()

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
        for each in (self._versions, self._heard, self._up_since):
            each.pop(link, None)
        batches = self._links.pop(link, None)
        if batches is not None:
            batches.closed = True
            gateway = self._gateways.pop(link, "")
            log.warning("gateway is gone", gateway=gateway)
            self.on_down(link)
            self.on_gone(gateway)
