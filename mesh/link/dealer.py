"""The gateway's end of one link: a DEALER to one worker, and the news of its death.

A worker's end shows at once as a disconnect on the socket's monitor; a frozen worker shows by
ZeroMQ's heartbeats, which end the connection, or by its silence. A link that ended is not taken up again.
"""

import asyncio
from collections.abc import Callable

import zmq

from mesh.errors import MeshError, NodeError, WireError
from mesh.link import commands
from mesh.link.backoff import End
from mesh.link.batches import BATCHES_PER_TURN, Batches, bounds
from mesh.link.malformed import Malformed, Unknown, read_to_gateway
from mesh.settings import LinkSettings
from mesh.telemetry import counters, get_logger
from mesh.versions import Versions
from mesh.zeromq import sockets
from mesh.zeromq.name_resolution import Answer, look_up, without_name
from mesh.zeromq.socket_reader import SocketReader

log = get_logger("mesh.link")

PING_SECONDS = 1.0
PING = commands.encode_batch([])
"""A batch without commands says that we are there: every worker understands it."""

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
        gateway: this gateway's id.
        worker: the worker's id, as announced.
        address: where it listens.
        key: its public CURVE key, in Z85, if it announced one.
        on_up: called when the worker has welcomed us.
        on_command: called with (worker, command).
        on_malformed: called with (worker, command) for what names whom it concerns, but cannot be read.
        on_down: called with (worker, how, why), once, when the link has ended by itself.
        on_behind: called with (worker, whether much waits for it) when that changes.
        on_incompatible: called with the worker when it speaks other versions; the link is closed.

    Attributes:
        up: whether the worker has welcomed us.
        was_up: whether it ever has, also after the end.
        received: commands that came on this link, Welcome included.
        version: of the link protocol that both speak; 0 until the worker has welcomed us.
        heard_at: when the last message came, in event-loop time; first, when we began to connect.
        up_since: when it welcomed us.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: LinkSettings,
        gateway: str,
        worker: str,
        address: str,
        key: str | None,
        *,
        on_up: Callable[[str], None],
        on_command: Callable[[str, commands.ToGateway], None],
        on_malformed: Callable[[str, Malformed], None],
        on_down: Callable[[str, End, str], None],
        on_incompatible: Callable[[str], None],
        on_behind: Callable[[str, bool], None] = lambda *_: None,
    ) -> None:
        self.worker = worker
        self.up = self.was_up = False
        self.received = 0
        self.version = 0
        self._loop = asyncio.get_running_loop()
        self.heard_at = self.up_since = self._loop.time()
        self._on_up = on_up
        self._on_command = on_command
        self._on_malformed = on_malformed
        self._on_down = on_down
        self._on_incompatible = on_incompatible
        self._closed = False
        self._socket = sockets.link_dealer(context, settings)
        try:
            self._monitor = sockets.monitor(self._socket, _EVENTS)
        except zmq.ZMQError:
            self._socket.close(0)
            raise
        self._reader = SocketReader(self._socket, self._message, BATCHES_PER_TURN)
        self._monitor_reader = SocketReader(self._monitor, self._event)
        self._batches = Batches(
            self._send,
            self._too_far_behind,
            bounds(settings),
            on_behind=lambda much: on_behind(worker, much),
        )
        self._reader.start()
        self._monitor_reader.start()
        self._timer = self._loop.call_later(settings.hello_timeout_seconds, self._not_welcome)
        try:
            known = without_name(address)
            if known is None:
                look_up(address, lambda answer: self._looked_up(answer, key))
            else:
                self._connect(known, key)
        except (MeshError, zmq.ZMQError):
            self.close()
            raise
        self.send(commands.Hello(commands.SPOKEN.newest, gateway, commands.SPOKEN.oldest))

    def _connect(self, address: str, key: str | None) -> None:
        sockets.connect(self._socket, address, key.encode() if key else None)

    def _looked_up(self, answer: Answer, key: str | None) -> None:
        """The worker announced a name; libzmq must not look it up, because its threads would wait."""
        if self._closed:
            return
        try:
            if isinstance(answer, OSError):
                raise NodeError(f"its name cannot be looked up: {answer.strerror or answer}")
            self._connect(answer[0], key)
        except (MeshError, zmq.ZMQError) as error:
            self._down(End.CONNECTION, str(error))

    def send(self, command: commands.ToWorker) -> None:
        """Send a command with this tick's batch."""
        self._batches.add(command)

    @property
    def behind(self) -> bool:
        """Whether much waits for the worker."""
        return self._batches.behind

    @property
    def waiting_bytes(self) -> int:
        """What ZeroMQ has not taken yet."""
        return self._batches.waiting_bytes

    def close(self) -> None:
        """Send what there is and end the link."""
        if self._closed:
            return
        self._batches.flush()
        self._closed = True
        self.up = False
        self._batches.closed = True
        self._timer.cancel()
        self._reader.close()
        self._monitor_reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close()

    def _send(self, batch: bytes) -> bool:
        try:
            self._socket.send(batch, zmq.NOBLOCK)
        except zmq.Again:
            return False
        else:
            return True
        finally:
            self._reader.look_again()

    def end_if_silent(self, seconds: float) -> None:
        """End the link if nothing has come over it for so long."""
        self._reader.read_now()
        if not self._closed and self._loop.time() - self.heard_at > seconds:
            self._down(End.SILENCE, f"nothing came for {seconds:g} s, neither on the link nor on the bus")

    @property
    def up_seconds(self) -> float:
        """How long the link has been up; 0 if it never was."""
        return self._loop.time() - self.up_since if self.was_up else 0.0

    def _ping(self) -> None:
        self._send(PING)  # if the queue is full, what is in it says the same
        self._timer = self._loop.call_later(PING_SECONDS, self._ping)

    def _message(self, frames: list[bytes]) -> None:
        self.heard_at = self._loop.time()
        try:
            if len(frames) != 1:
                raise WireError(f"link message of {len(frames)} frames; want 1")
            received = read_to_gateway(frames[0])
        except WireError as error:
            self._broken(str(error))  # what else it has sent can no longer be counted
            return
        unreadable = None
        for command in received:
            if self._closed:
                return
            self.received += 1
            own = _OWN.get(type(command))
            if own is None:
                try:
                    self._on_command(self.worker, command)  # type: ignore[arg-type]
                except Exception as error:  # the commands behind it are not to blame
                    self._failed(command, error)
            else:
                unreadable = own(self, command) or unreadable
        if unreadable is not None and not self._closed:
            self._broken(unreadable)

    def _failed(self, command: object, error: Exception) -> None:
        counters.count("handlers_failed")
        log.error("handling a command failed", worker=self.worker, exc_info=error)
        channel = getattr(command, "channel", None)
        if channel is not None:
            self._on_malformed(self.worker, Malformed((channel,), None, repr(error)))

    def _malformed(self, command: Malformed) -> str | None:
        if not command.attributed:
            return command.reason
        counters.count("link_commands_malformed")
        self._on_malformed(self.worker, command)
        return None

    def _unknown(self, _command: Unknown) -> None:
        counters.count("link_commands_malformed")

    def _welcome(self, welcome: commands.Welcome) -> None:
        if welcome.version == commands.ENDED:
            self._down(End.PROTOCOL, "the worker has ended the link")
            return
        if self.up and (welcome.version, welcome.worker) == (self.version, self.worker):
            counters.count("link_commands_malformed")  # once is enough, twice changes nothing
            return
        spoken = commands.SPOKEN.oldest <= welcome.version <= commands.SPOKEN.newest
        if self.up or not spoken or welcome.worker != self.worker:
            said = f"Welcome of version {welcome.version} by {welcome.worker[:64]!r}"
            wanted = f"want one, of version {commands.SPOKEN}, by the worker that was announced"
            self._broken(f"{said}; {wanted}")
            return
        self._timer.cancel()
        self.up = self.was_up = True
        self.up_since = self._loop.time()
        self.version = welcome.version
        log.debug("linked to worker", worker=self.worker)
        self._ping()
        self._on_up(self.worker)

    def _incompatible(self, command: commands.Incompatible) -> None:
        theirs = Versions(command.oldest, command.newest)
        counters.count("links_incompatible")
        log.error(
            "worker speaks other versions of the link: upgrade one of the two; no channel goes there",
            worker=self.worker,
            theirs=str(theirs),
            ours=str(commands.SPOKEN),
        )
        self.close()
        self._on_incompatible(self.worker)

    def _event(self, frames: list[bytes]) -> None:
        event = int.from_bytes(frames[0][:2], "little")
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self._batches.flush()
        else:
            self._down(End.CONNECTION, "the connection ended" if self.was_up else "no connection")

    def _too_far_behind(self, reason: str) -> None:
        counters.count("links_given_up")
        self._down(End.BEHIND, reason)

    def _not_welcome(self) -> None:
        self._down(End.SILENCE, "it does not answer Hello (link.hello_timeout_seconds)")

    def _broken(self, reason: str) -> None:
        counters.count("link_messages_malformed")
        self._down(End.PROTOCOL, reason)

    def _down(self, end: End, reason: str) -> None:
        if not self._closed and end is not End.PROTOCOL:
            self._reader.read_now()  # what the worker said before it went
        if not self._closed:
            self._batches.closed = True  # nothing can be delivered any more
            self.close()
            self._on_down(self.worker, end, reason)


_OWN: dict[type, Callable[..., str | None]] = {
    commands.Welcome: Dealer._welcome,
    commands.Incompatible: Dealer._incompatible,
    Malformed: Dealer._malformed,
    Unknown: Dealer._unknown,
}
"""Commands that concern the link itself."""
