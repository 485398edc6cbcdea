"""The gateway's end of one link: a DEALER (ZeroMQ RFC 28) to one worker, which detects the worker's death.

When a worker process dies, its connection ends and the socket's monitor reports this at once. A frozen
worker is detected by ZeroMQ's heartbeats (ZMTP 3.1, ZeroMQ RFC 37), which end the connection, or because it
is silent on both link and bus. phases.py describes the phases of a link, and why a link that ended is never
resumed.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial

import zmq

from mesh.errors import MeshError, PhaseError, WireError
from mesh.link import commands
from mesh.link.backoff import End
from mesh.link.batches import BATCHES_PER_TURN, Batches, bounds
from mesh.link.handlers import DealerHandlers
from mesh.link.malformed import Malformed, Unknown, read_to_gateway
from mesh.link.phases import TABLE, Action, Event, Phase
from mesh.phases import Phases
from mesh.protocol.versions import Versions
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger
from mesh.zeromq import sockets
from mesh.zeromq.name_resolution import Answer, literal_address, look_up
from mesh.zeromq.socket_reader import SocketReader

log = get_logger(__name__)

_ENDED = Phase.ENDED

PING_SECONDS = 1.0
PING = commands.encode_batch([])
"""A batch without commands shows that this gateway is alive: every worker accepts it."""

_EVENTS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_CONNECT_RETRIED
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Dealer:
    """A link to one worker.

    Args:
        context: the ZeroMQ context of the socket.
        settings: the settings of links.
        gateway: the id of this gateway.
        worker: the id of the worker, as announced.
        address: the address on which the worker listens.
        key: the worker's public CURVE key, in Z85, if it announced one.
        handlers: called when something happens on the link.

    Attributes:
        received: the number of commands received on this link, including Welcome.
        version: the common version of the link protocol; 0 until Welcome is received.
        last_heard: when the last message was received, in event-loop time; initially, when the link was
            created.
        batches: the commands to be sent on the link.

    Raises:
        MeshError: if the address or the key cannot be used.
        ZMQError: if no socket can be created, e.g. because too many files are open.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: LinkSettings,
        gateway: str,
        worker: str,
        address: str,
        key: str | None,
        handlers: DealerHandlers,
    ) -> None:
        self.worker = worker
        self.received = 0
        self.version = 0
        self._handlers = handlers
        self._on_command = handlers.on_command
        self._loop = asyncio.get_running_loop()
        self.last_heard = self._loop.time()
        self._up_since: float | None = None
        self._ended: tuple[End, str] = (End.CONNECTION, "")
        known = literal_address(address)
        self._address, self._key = known or address, key
        self._phases = Phases(TABLE, Phase.GREETING if known is not None else Phase.RESOLVING)
        self._socket = sockets.link_dealer(context, settings)
        try:
            self._monitor = sockets.monitor(self._socket, _EVENTS)
        except zmq.ZMQError:
            self._socket.close(0)
            raise
        self._reader = SocketReader(self._socket, self._message, BATCHES_PER_TURN)
        self._monitor_reader = SocketReader(self._monitor, self._event)
        self.batches = Batches(
            self._send,
            self._too_far_behind,
            bounds(settings),
            on_behind=partial(handlers.on_behind, worker),
        )
        self._reader.start()
        self._monitor_reader.start()
        self._timer = self._loop.call_later(settings.hello_timeout_seconds, self._not_welcome)
        if known is None:
            look_up(address, self._looked_up)
        else:
            try:
                self._connect()
            except (MeshError, zmq.ZMQError):
                self.close()
                raise
        self.batches.add(commands.Hello(commands.SPOKEN.newest, gateway, commands.SPOKEN.oldest))

    def _connect(self) -> None:
        sockets.connect(self._socket, self._address, self._key.encode() if self._key else None)

    def _looked_up(self, answer: Answer) -> None:
        """The worker announced a name: it is resolved here, because libzmq would block its own threads."""
        if self.phase is not Phase.RESOLVING:
            return
        if isinstance(answer, OSError):
            reason = f"its name cannot be resolved: {answer.strerror or answer}"
            self._fail(End.CONNECTION, reason)
            return
        self._address = random.choice(answer)  # noqa: S311  (one may be dead: the next link may take another)
        try:
            self._handle(Event.RESOLVED)
        except (MeshError, zmq.ZMQError) as error:
            self._fail(End.CONNECTION, str(error))

    @property
    def phase(self) -> Phase:
        """The phase of the link."""
        return self._phases.phase

    @property
    def up(self) -> bool:
        """Whether Welcome was received, and the link has not ended."""
        return self._phases.phase is Phase.UP

    @property
    def was_up(self) -> bool:
        """Whether Welcome was ever received, even if the link has ended."""
        return self._up_since is not None

    @property
    def up_seconds(self) -> float:
        """For how many seconds the link has been up; 0 if it never was."""
        return self._loop.time() - self._up_since if self._up_since is not None else 0.0

    def end_if_silent(self, seconds: float) -> None:
        """End the link if nothing was received on it for longer than `seconds`."""
        self._reader.read_now()
        if self._loop.time() - self.last_heard > seconds:
            self._fail(End.SILENCE, f"silent for {seconds:g} s on both the link and the bus")

    def close(self) -> None:
        """Send waiting commands and end the link."""
        if self.phase is not Phase.ENDED:
            self._handle(Event.CLOSE)

    # Phases

    def _handle(self, event: Event) -> None:
        try:
            actions = self._phases.handle(event)
        except PhaseError as error:  # a defect of ours must not affect other links
            log.error("a link is given up", worker=self.worker, reason=str(error))
            self._fail(End.PROTOCOL, str(error))
            return
        for action in actions:
            _ACTIONS[action](self)

    def _release(self) -> None:
        self.batches.closed = True
        self._timer.cancel()
        self._reader.close()
        self._monitor_reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _fail(self, end: End, reason: str) -> None:
        """The link has ended by itself."""
        if end is not End.PROTOCOL and self.phase is not Phase.ENDED:
            self._reader.read_now()  # what the worker sent before the end
        if self.phase is not Phase.ENDED:
            self._ended = end, reason
            self._handle(Event.FAILED)

    # The socket

    def _send(self, batch: bytes) -> bool:
        try:
            self._socket.send(batch, zmq.NOBLOCK)
        except zmq.Again:
            return False
        else:
            return True
        finally:
            self._reader.read_soon_if_any()

    def _ping(self) -> None:
        self._send(PING)  # if the queue is full, the batches in it serve the same purpose
        self._timer = self._loop.call_later(PING_SECONDS, self._ping)

    def _message(self, frames: list[bytes]) -> None:
        self.last_heard = self._loop.time()
        try:
            if len(frames) != 1:
                raise WireError(f"link message of {len(frames)} frames; want 1")
            received = read_to_gateway(frames[0])
        except WireError as error:
            self._broken(str(error))  # the count of received commands would be wrong from now on
            return
        unreadable, phases = None, self._phases
        for command in received:
            if phases.phase is _ENDED:
                return
            self.received += 1
            own = _OWN.get(type(command))
            if own is None:
                try:
                    self._on_command(self.worker, command)  # type: ignore[arg-type]
                except Exception as error:  # must not affect the commands after it
                    self._failed(command, error)
            else:
                unreadable = own(self, command) or unreadable
        if unreadable is not None and phases.phase is not _ENDED:
            self._broken(unreadable)

    def _failed(self, command: object, error: Exception) -> None:
        counters.count("handlers_failed")
        log.error("handling a command failed", worker=self.worker, exc_info=error)
        channel = getattr(command, "channel", None)
        if channel is not None:
            self._handlers.on_malformed(self.worker, Malformed((channel,), None, repr(error)))

    def _malformed(self, command: Malformed) -> str | None:
        if not command.attributed:
            return command.reason
        counters.count("link_commands_malformed")
        self._handlers.on_malformed(self.worker, command)
        return None

    def _unknown(self, _command: Unknown) -> None:
        counters.count("link_commands_malformed")

    def _welcome(self, welcome: commands.Welcome) -> None:
        if welcome.version == commands.ENDED:
            self._fail(End.PROTOCOL, "the worker has ended the link")
            return
        if self.up and (welcome.version, welcome.worker) == (self.version, self.worker):
            counters.count("link_commands_malformed")  # a second Welcome has no effect
            return
        spoken = commands.SPOKEN.oldest <= welcome.version <= commands.SPOKEN.newest
        if self.up or not spoken or welcome.worker != self.worker:
            said = f"Welcome of version {welcome.version} by {welcome.worker[:64]!r}"
            wanted = f"want version {commands.SPOKEN}, by the announced worker (docs/protocol.md §3)"
            self._broken(f"{said}; {wanted}")
            return
        self._timer.cancel()
        self._up_since = self._loop.time()
        self.version = welcome.version
        log.debug("linked to worker", worker=self.worker)
        self._ping()
        self._handle(Event.WELCOMED)

    def _incompatible(self, command: commands.Incompatible) -> None:
        theirs = Versions(command.oldest, command.newest)
        counters.count("links_incompatible")
        log.error(
            "worker speaks other versions of the link: upgrade one of the two; no channel is placed there",
            worker=self.worker,
            theirs=str(theirs),
            ours=str(commands.SPOKEN),
        )
        self._handle(Event.REJECTED)

    def _event(self, frames: list[bytes]) -> None:
        event = int.from_bytes(frames[0][:2], "little")
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.batches.flush()
        else:
            self._fail(End.CONNECTION, "the connection ended" if self.was_up else "no connection")

    def _too_far_behind(self, reason: str) -> None:
        counters.count("links_given_up")
        self._fail(End.BEHIND, reason)

    def _not_welcome(self) -> None:
        self._fail(End.SILENCE, "it does not answer Hello (link.hello_timeout_seconds)")

    def _broken(self, reason: str) -> None:
        counters.count("link_messages_malformed")
        self._fail(End.PROTOCOL, reason)


_OWN: dict[type, Callable[..., str | None]] = {
    commands.Welcome: Dealer._welcome,
    commands.Incompatible: Dealer._incompatible,
    Malformed: Dealer._malformed,
    Unknown: Dealer._unknown,
}
"""The commands that concern the link itself."""

_ACTIONS: dict[Action, Callable[[Dealer], None]] = {
    Action.CONNECT: Dealer._connect,
    Action.FLUSH: lambda dealer: dealer.batches.flush(),
    Action.RELEASE: Dealer._release,
    Action.REPORT_UP: lambda dealer: dealer._handlers.on_up(dealer.worker),
    Action.REPORT_DOWN: lambda dealer: dealer._handlers.on_down(dealer.worker, *dealer._ended),
    Action.REPORT_INCOMPATIBLE: lambda dealer: dealer._handlers.on_incompatible(dealer.worker),
}
