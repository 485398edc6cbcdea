"""Runs one channel: join → callbacks → terminate, one callback at a time.

A server owns the three parts of a channel: its lifecycle (lifecycle.py says what each event leads to), its
mailbox (what waits) and its context (what the application's Channel may do). The server takes messages in
order, calls the application (callbacks.py) and carries out the actions of the lifecycle table (actions.py).
Source: Phoenix.Channel.Server.
"""

import asyncio
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from mesh.app.channel import Channel
from mesh.app.socket import Socket
from mesh.application_errors import as_exception
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.protocol import payloads
from mesh.telemetry import counters, get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel import callbacks, joining, lifecycle
from mesh.worker.channel.actions import STEPS, terminate
from mesh.worker.channel.context import WorkerContext
from mesh.worker.channel.lifecycle import OVER, Ending, Event, Phase
from mesh.worker.channel.mailbox import (
    ClientGone,
    InfoMessage,
    InterceptedBroadcast,
    Mailbox,
    SetAside,
    StopRequested,
    SubscribedBroadcast,
)
from mesh.worker.channel.worker import ServerWorker
from mesh.worker.handoff import transfer

log = get_logger(__name__)

MESSAGES_PER_RUN = 8
"""The most messages of one channel that are handled before other channels have their turn."""
MAILS_PER_EMPTYING_RUN = 256
"""The same for a channel that moves as soon as its mailbox is empty: more than arrive in the meantime."""
NOTHING = Ending()
LEFT = Ending("left", commands.Closed)
STATUS = {
    Phase.JOINING: "joining",
    Phase.RESTORING: "joining",
    Phase.JOINED: "joined",
    Phase.MOVING: "joined",
    Phase.EMPTYING: "joined",
    Phase.SNAPSHOTTING: "joined",
}
"""The phases as ChannelInfo reports them; all others are "leaving"."""
PUSHES_MAY_WAIT = frozenset({Phase.JOINING, Phase.RESTORING, Phase.JOINED, Phase.MOVING})


class ChannelServer:
    """One channel. Implements Work, MailboxOwner and Member.

    Args:
        worker: the worker that runs the channel.
        link: the link to the client's gateway.
        join: the join that starts the channel.
        channel: the application's class.
        socket: the channel's own copy of the client's socket.
        execution_context: the context in which all of its callbacks and their logging run.
    """

    __slots__ = (
        "_callback_over", "channel", "context", "execution_context", "intercepts", "kill_timer", "life",
        "mailbox", "mount", "task", "worker",
    )  # fmt: skip

    def __init__(
        self,
        worker: ServerWorker,
        link: bytes,
        join: commands.Join,
        channel: type[Channel],
        socket: Socket,
        execution_context: Context,
    ) -> None:
        self.worker = worker
        self.execution_context = execution_context
        self.task: asyncio.Task[None] | None = None
        self.kill_timer: asyncio.TimerHandle | None = None
        self.mount = join.mount
        self.intercepts = frozenset(channel.intercept)
        self._callback_over: asyncio.Future[None] | None = None
        self.life = life = lifecycle.begin(join.moved)
        self.mailbox = mailbox = Mailbox(self, worker.mailbox_limits, join)
        self.context = context = WorkerContext(worker, mailbox, life, link, join, channel.__name__)
        self.channel = channel(context, socket, join.topic, join.join_ref)
        worker.runners.submit(self)

    @property
    def status(self) -> str:
        """The status for ChannelInfo: "joining", "joined" or "leaving"."""
        return STATUS.get(self.life.phase, "leaving")

    # Called for link commands

    def leave(self, leave: commands.Leave) -> None:
        """The client leaves: end after the messages that arrived before."""
        self.change(Event.LEAVE_CAME, Ending(message=leave))

    def client_gone(self, reason: str) -> None:
        """The client is gone: end after the messages that arrived before."""
        self.change(Event.CLIENT_GONE, Ending(reason, None, ClientGone(reason)))

    def replace(self) -> None:
        """The client joined again: end at once, as Phoenix kills the old channel.

        An earlier leave is answered first, if the callbacks before it end in time.
        """
        self.change(Event.REPLACED, Ending("duplicate_join", commands.Closed))

    def shut_down(self) -> None:
        """The worker stops: end at once; the client gets `phx_error` and joins another worker.

        A join in progress is not answered: when the link ends, the gateway sends it to another worker.
        """
        joined = self.context.local_topic is not None
        self.change(Event.KILLED, Ending("shutdown", commands.Crashed if joined else None))

    def malformed(self) -> None:
        """A command for the channel cannot be decoded: it crashes, even during its join."""
        self.change(Event.KILLED, Ending("malformed command", commands.Crashed))

    def announce_move(self) -> bool:
        """Ask the gateway to send no more; return False if this channel cannot move."""
        if self.life.phase is not Phase.JOINED or type(self.channel).snapshot is Channel.snapshot:
            return False
        self.change(Event.MOVE_ANNOUNCED)
        self.context.send_command(commands.Moving(self.context.number))
        return True

    def take_back(self, reason: str) -> None:
        """The channel has moved, but its client was gone before that: end it here."""
        counters.count("channels_not_moved")
        self.change(Event.TAKEN_BACK, Ending(reason))

    # Called by its mailbox and by the worker

    def wake(self) -> None:
        """Messages wait."""
        self.worker.runners.submit(self)

    def overflow(self, setting: str, limit: int) -> None:
        """More waits than is allowed: only this channel ends."""
        counters.count("mailboxes_overflowed")
        # A copy: the poster may be a callback of this channel, which runs in its context already.
        self.execution_context.copy().run(
            log.error,
            "mailbox is full: the channel ends",
            topic=self.context.topic,
            socket_id=self.channel.socket.id,
            limit=limit,
            setting=setting,
        )
        self.change(Event.KILLED, Ending("mailbox_overflow", commands.Crashed))

    def pause_reading(self) -> bool:
        """Ask the gateway not to read from the client."""
        return self.worker.pause_reading(self.context.link, self.context.number)

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self.worker.resume_reading(self.context.link, self.context.number)

    def pause_pushes(self, paused: bool) -> None:
        """Handle no pushes while `paused` is true. Those that were set aside are handled first then."""
        if not paused:
            self.mailbox.put_back()
        elif self.life.phase in PUSHES_MAY_WAIT:
            self.mailbox.set_pushes_aside()

    # Running

    async def run(self) -> None:
        """Handle some of the waiting messages. Raises only if cancelled after the channel's end."""
        mailbox, context, runners = self.mailbox, self.context, self.worker.runners
        most = 1 if runners.throttled else MESSAGES_PER_RUN
        try:
            for _ in range(MAILS_PER_EMPTYING_RUN if self.life.phase is Phase.EMPTYING else most):
                if not mailbox.queue:
                    break
                message = mailbox.take()
                if context.silence_seconds is not None:
                    context.end_silence()
                await HANDLERS[type(message)](self, message)
                if mailbox.reading_paused:
                    mailbox.resume_if_low()
                if context.stop_reason is not None:
                    await self._stop(context.stop_reason)
        except asyncio.CancelledError:
            if self.life.phase in OVER:  # killed
                raise
            await self._crash(ChannelError("the callback was cancelled by its own code"))
        except BaseException as error:
            await self._crash(as_exception(error, "callback"))
        finally:
            if mailbox.rest():
                runners.submit(self)
            elif context.silence_seconds is not None or self._callback_over is not None:
                self._rest()

    def _rest(self) -> None:
        """Wait for messages."""
        if self.context.silence_seconds is not None:
            self.context.begin_silence(self.context.silence_seconds)
        if self._callback_over is not None:
            self._callback_over.set_result(None)

    async def callback_over(self) -> None:
        """Wait until the running callback has ended."""
        if self.task is not None:
            self._callback_over = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._callback_over)

    async def _handle_join(self, join: commands.Join) -> None:
        if join.moved:
            await transfer.restore(self, join)
        else:
            await joining.handle_join(self, join)

    def enter(self) -> int:
        """Become a member of the topic; return the number of the worker's last broadcast before that."""
        since = self.worker.bus.sequence
        self.context.local_topic = self.worker.members.add(self)
        return since

    async def _handle_handover(self, handover: commands.Handover) -> None:
        """The gateway sends no more: move the channel once its mailbox is empty."""
        if self.mailbox.waiting:
            self.change(Event.HANDED_OVER, Ending(message=handover))
            return
        self.change(Event.EMPTIED)
        await transfer.hand_over(self)

    # Ending

    # These two return what `end` returns, for `run` to await: no coroutine around another.

    def _handle_leave(self, leave: commands.Leave) -> Coroutine[Any, Any, None]:
        context = self.context
        context.send_command(
            commands.Reply(context.number, context.after(), leave.ref, "ok", 0, payloads.EMPTY)
        )
        return self.end(Event.LEFT, LEFT)

    def _handle_client_gone(self, gone: ClientGone) -> Coroutine[Any, Any, None]:
        return self.end(Event.LEFT, Ending(gone.reason))

    async def _handle_stop(self, stop: StopRequested) -> None:
        await self._stop(stop.reason)

    async def _stop(self, reason: str) -> None:
        if self.life.phase in OVER:
            return
        if reason in ("normal", "shutdown") or reason.startswith("shutdown:"):
            await self.end(Event.STOPPED, Ending(reason, commands.Closed))
            return
        socket_id = self.channel.socket.id
        log.error("channel stopped", topic=self.context.topic, socket_id=socket_id, reason=reason)
        await self.end(Event.STOPPED, Ending(reason, commands.Crashed))

    async def _crash(self, error: Exception) -> None:
        if self.life.phase in OVER:
            return
        channel_telemetry.crashed(self.channel, error)
        await self.end(Event.CRASHED, Ending(error, commands.Crashed))

    async def end(self, event: Event, ending: Ending) -> None:
        """End the channel by a handled message: call `terminate`, unless it has ended already."""
        if self.change(event, ending):
            await terminate(self, ending.reason)

    def change(self, event: Event, ending: Ending = NOTHING) -> bool:
        """Enter the next phase and carry out its actions; return whether `terminate` must be called."""
        steps, terminates = STEPS[self.life.handle(event)]
        for carry_out in steps:
            carry_out(self, ending)
        return terminates


HANDLERS: dict[type[Any], Any] = {
    commands.Join: ChannelServer._handle_join,
    commands.Push: callbacks.handle_push,
    commands.Leave: ChannelServer._handle_leave,
    commands.Handover: ChannelServer._handle_handover,
    InterceptedBroadcast: callbacks.handle_intercepted,
    SubscribedBroadcast: callbacks.handle_subscribed,
    InfoMessage: callbacks.handle_info,
    SetAside: callbacks.handle_set_aside,
    ClientGone: ChannelServer._handle_client_gone,
    StopRequested: ChannelServer._handle_stop,
}
