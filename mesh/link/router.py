"""The worker's end of its links: one ROUTER (ZeroMQ RFC 28) for all gateways.

**Dead gateways.** A ROUTER does not report that a peer is gone. The socket's monitor does, but not which
peer. So after each disconnection every gateway is sent a Ping, and sending it to a gateway that is gone
fails (ROUTER_MANDATORY). The monitor may report before the ROUTER has noticed, so several Pings are sent,
and in any case one each second.

**Waking from a freeze.** A worker that was frozen for longer than gateways wait must not carry out what
they sent before they gave it up: their channels run elsewhere by now. When it wakes, it holds what arrives,
sends Pings, and continues with the links that still exist.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial

import zmq

from mesh.addresses import advertised_address
from mesh.errors import PhaseError, WireError
from mesh.link import commands
from mesh.link.backoff import Backoff, End
from mesh.link.batches import BATCHES_PER_TURN, Batches, bounds
from mesh.link.gateway_link import GatewayLink
from mesh.link.handlers import RouterHandlers
from mesh.link.malformed import Malformed, Unknown, read_to_worker
from mesh.link.phases import Action, Event, Phase
from mesh.protocol.versions import common
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger
from mesh.zeromq import sockets
from mesh.zeromq.curve import LINKS, keys_of
from mesh.zeromq.socket_reader import SocketReader

log = get_logger(__name__)
_chance = random.SystemRandom().random

PING_SECONDS = 1.0
PINGS_AFTER_DISCONNECT_SECONDS = (0.0, 0.01, 0.1)
WAKING_SECONDS = 0.25
"""How long libzmq may take after a freeze to notice which connections have ended in the meantime."""


class Router:
    """A worker's links to all gateways.

    Args:
        context: the ZeroMQ context of the socket.
        worker: the id of this worker.
        settings: the settings of links.
        bind: the address to listen on.

    Attributes:
        address: the address that gateways connect to.
        key: the public CURVE key of this listener, in Z85, if there is one.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], worker: str, settings: LinkSettings, bind: str
    ) -> None:
        self._handlers: RouterHandlers
        self._worker = worker
        self._bounds = bounds(settings)
        self._links: dict[bytes, GatewayLink] = {}
        self._backoff = Backoff()
        self._said: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._patience = settings.heartbeat_timeout_seconds
        self._awake = asyncio.get_running_loop().time()
        self._waking: asyncio.TimerHandle | None = None
        self._held: list[list[bytes]] = []
        advertised_address(bind, settings.advertise_host)  # raises before a socket is opened
        self._socket = sockets.link_router(context, settings)
        bound, self._monitor = sockets.bind_monitored(self._socket, bind, LINKS)
        self.address = advertised_address(bound, settings.advertise_host)
        keys = keys_of(self._socket)
        self.key = keys.public.decode() if keys is not None else None
        self._reader = SocketReader(self._socket, self._message, BATCHES_PER_TURN)
        self._monitor_reader = SocketReader(self._monitor, self._disconnected)

    @property
    def links(self) -> int:
        """The number of linked gateways."""
        return len(self._links)

    @property
    def waiting_bytes(self) -> int:
        """The bytes that ZeroMQ has not accepted yet, of all links."""
        return sum(each.batches.waiting_bytes for each in self._links.values())

    def version(self, link: bytes) -> int:
        """Return the version of a link; 0 if it has ended."""
        known = self._links.get(link)
        return known.version if known is not None else 0

    def start(self, handlers: RouterHandlers) -> None:
        """Begin to read, and call `handlers` from now on."""
        self._handlers = handlers
        self._reader.start()
        self._monitor_reader.start()
        self._ping_again()

    def send(self, link: bytes, command: commands.ToGateway) -> int:
        """Queue a command for one gateway; return the number of commands sent on its link, including
        Welcome.

        If the gateway is gone, the command is dropped.
        """
        known = self._links.get(link)
        if known is None:
            return 0
        batches = known.batches
        batches.add(command)
        return batches.count

    def close(self) -> None:
        """Send waiting commands and stop."""
        for link in list(self._links):
            self._handle(link, Event.CLOSE)
        for timer in (self._timer, self._waking):
            if timer is not None:
                timer.cancel()
        self._reader.close()
        self._monitor_reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _was_frozen(self, now: float) -> bool:
        """Return whether this process was frozen for longer than gateways wait for it."""
        if now - self._awake > self._patience and self._waking is None:
            log.warning("this worker was frozen", seconds=round(now - self._awake, 1))
            self._ping()
            self._waking = asyncio.get_running_loop().call_later(WAKING_SECONDS, self._woken)
        self._awake = now
        return self._waking is not None

    def _woken(self) -> None:
        for known in list(self._links.values()):
            known.batches.add(commands.Ping())
            known.batches.flush()
        self._waking = None
        held, self._held = self._held, []
        for frames in held:
            self._message(frames)

    def _message(self, frames: list[bytes]) -> None:
        now = asyncio.get_running_loop().time()
        if self._was_frozen(now):
            self._held.append(frames)
            return
        link = frames[0]
        known = self._links.get(link)
        if known is not None:
            known.last_heard = now
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
                try:
                    self._handlers.on_command(link, command)  # type: ignore[arg-type]
                except Exception as error:  # must not affect the commands after it
                    self._failed(link, command, error)
        if unreadable is not None:
            self._broken(link, unreadable)

    def _failed(self, link: bytes, command: object, error: Exception) -> None:
        counters.count("handlers_failed")
        log.error("handling a command failed", gateway=self._gateway(link), exc_info=error)
        channel = getattr(command, "channel", None)
        if channel is not None:
            self._handlers.on_malformed(link, channel)

    def _malformed(self, link: bytes, command: Malformed | Unknown) -> str | None:
        """End the channels that the command names; return why the link must end, if it names none."""
        if type(command) is Malformed and not command.attributed:
            return command.reason
        counters.count("link_commands_malformed")
        if type(command) is Malformed:
            reason = command.reason
            self._say("gateway sends a malformed command: its channel crashes", link, reason=reason)
            for channel in command.channels:
                self._handlers.on_malformed(link, channel)
        return None

    def _broken(self, link: bytes, reason: str) -> None:
        """A message of a peer cannot be decoded: end its link and inform the gateway, if possible."""
        counters.count("link_messages_malformed")
        known = self._links.get(link)
        if known is None:
            self._say("link message dropped: its sender has not said Hello", link, reason=reason)
            return
        gateway, now = known.gateway, asyncio.get_running_loop().time()
        if self._backoff.failed(gateway, End.PROTOCOL, now - known.up_since, now, _chance()):
            log.error("gateway breaks the link protocol: the link ends", gateway=gateway, reason=reason)
        self._end(link)

    def _end(self, link: bytes) -> None:
        self._send(link, commands.encode_batch([commands.Welcome(commands.ENDED, self._worker)]))
        self._lost(link)

    def _say(self, event: str, link: bytes, **fields: object) -> None:
        """Log this once for each gateway, and once for all peers that have not sent Hello."""
        gateway = self._gateway(link)
        if gateway not in self._said:
            live = {"", gateway, *(each.gateway for each in self._links.values())}
            self._said = (self._said | {gateway}) & live
            log.error(event, gateway=gateway, **fields)

    def gateway_silent(self, gateway: str, seconds: float) -> bool:
        """End a gateway's links that were silent for longer than `seconds`; return whether any is left."""
        self._reader.read_now()
        since = asyncio.get_running_loop().time() - seconds
        links = [link for link, each in self._links.items() if each.gateway == gateway]
        silent = [link for link in links if self._links[link].last_heard < since]
        for link in silent:
            log.warning("gateway is silent on both the link and the bus", gateway=gateway)
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
        batches = Batches(
            partial(self._send, link),
            partial(self._too_far_behind, link),
            self._bounds,
            commands.Ping(),
            partial(self._handlers.on_behind, link),
        )
        self._links[link] = GatewayLink(hello.gateway, version, now, batches)
        self._handle(link, Event.WELCOMED)
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
            self._reader.read_soon_if_any()

    def _disconnected(self, _frames: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        for seconds in PINGS_AFTER_DISCONNECT_SECONDS:
            loop.call_later(seconds, self._ping)

    def _ping_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._was_frozen(loop.time())
        self._ping()
        self._timer = loop.call_later(PING_SECONDS, self._ping_again)

    def _ping(self) -> None:
        for known in list(self._links.values()):
            known.batches.add(commands.Ping())

    def _too_far_behind(self, link: bytes, reason: str) -> None:
        counters.count("links_given_up")
        gateway = self._gateway(link)
        log.error("gateway is too far behind: the link is given up", gateway=gateway, reason=reason)
        self._lost(link)

    def _lost(self, link: bytes) -> None:
        self._handle(link, Event.FAILED)

    def _handle(self, link: bytes, event: Event) -> None:
        known = self._links.get(link)
        if known is None or known.phases.phase is Phase.ENDED:  # it is being closed
            return
        try:
            actions = known.phases.handle(event)
        except PhaseError as error:  # a defect of ours must not affect other links
            log.error("a link is given up", gateway=known.gateway, reason=str(error))
            actions = known.phases.handle(Event.FAILED)
        for action in actions:
            _ACTIONS[action](self, link, known)

    def _release(self, link: bytes, known: GatewayLink) -> None:
        known.batches.closed = True
        self._links.pop(link, None)

    def _report_down(self, link: bytes, known: GatewayLink) -> None:
        log.warning("gateway is gone", gateway=known.gateway)
        self._handlers.on_down(link)
        self._handlers.on_gone(known.gateway)

    def _gateway(self, link: bytes) -> str:
        known = self._links.get(link)
        return known.gateway if known is not None else ""


_ACTIONS: dict[Action, Callable[[Router, bytes, GatewayLink], None]] = {
    Action.FLUSH: lambda router, link, known: known.batches.flush(),
    Action.RELEASE: Router._release,
    Action.REPORT_UP: lambda router, link, known: router._handlers.on_up(link, known.gateway),
    Action.REPORT_DOWN: Router._report_down,
}
"""CONNECT and REPORT_INCOMPATIBLE are used only by gateways."""
