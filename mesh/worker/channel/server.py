"""The life of one channel: join → callbacks → terminate, one callback at a time.

What comes waits in its mailbox (mailbox.py), and `run` handles it in order; what its callbacks say goes out
by context.py; ending.py has the ways in which it ends.
Source: Phoenix.Channel.Server.
"""

import asyncio
from collections.abc import Awaitable, Coroutine
from contextvars import Context
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mesh import payloads
from mesh.channel import Channel
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.messages import Broadcast
from mesh.telemetry import counters, get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel.callback_results import join_reply, push_reply
from mesh.worker.channel.ending import Ending
from mesh.worker.channel.mail import (
    ClientGone,
    InfoMessage,
    InterceptedBroadcast,
    StopRequested,
    SubscribedBroadcast,
)
from mesh.worker.handoff.state import HandoffState, pack, pack_assigns, unpack

if TYPE_CHECKING:
    from mesh.worker.channels import Channels

log = get_logger("mesh.channel")

MAILS_PER_RUN = 8
"""Of one channel, before the others have their turn."""
MAILS_PER_HURRIED_RUN = 256
"""Of one that moves as soon as its mailbox is empty: more than come meanwhile."""
JOIN_CRASHED = {"reason": "join crashed"}


class ChannelServer(Ending):
    """One channel. Implements Work."""

    __slots__ = ("_hurries", "intercepts", "mount")

    def __init__(
        self,
        channels: "Channels",
        link: bytes,
        join: commands.Join,
        channel: type[Channel],
        socket: Any,
        execution_context: Context,
    ) -> None:
        super().__init__(channels, link, join, execution_context)
        self.channel = channel(self, socket, join.topic, join.join_ref)
        self.mount = join.mount
        self.intercepts = frozenset(channel.intercept)
        self._hurries = False
        self._mailbox.append(join)
        self._running = True
        channels.runners.submit(self)

    @property
    def status(self) -> str:
        """What ChannelInfo says of it."""
        if self._ended or self.leaving:
            return "leaving"
        return "joined" if self._joined else "joining"

    @property
    def waits(self) -> bool:
        """Whether there will be mail by a timer."""
        return bool(self._timers or self._silence)

    def begin_move(self) -> bool:
        """Ask the gateway to send no more; False if this channel cannot move."""
        if self._ended or not self._joined or type(self.channel).snapshot is Channel.snapshot:
            return False
        self._send(commands.Moving(self.number))
        return True

    def take_back(self, reason: str) -> None:
        """It has moved, but its client was gone before: end here."""
        self._gone = True
        self._released = False  # until `terminate` has run
        counters.count("channels_not_moved")
        self.channels.spawn(self._finish(reason), self.execution_context)

    def _schedule(self) -> None:
        self._running = True
        self.channels.runners.submit(self)

    async def run(self) -> None:
        """Handle some of the mail there is. Never raises, but for cancellation after the channel's end."""
        mailbox = self._mailbox
        most = 1 if self.channels.runners.slow else MAILS_PER_RUN
        try:
            for _ in range(MAILS_PER_HURRIED_RUN if self._hurries else most):
                if not mailbox or self._ended:
                    break
                mail = mailbox.popleft()
                if self._silence_seconds is not None:
                    self._end_silence()
                await HANDLERS[type(mail)](self, mail)
                if self._pausing:
                    self._look_at_low_marks()
                if self._stop_reason is not None and not self._ended:
                    await self._stop(self._stop_reason)
        except asyncio.CancelledError:
            if self._ended:  # killed
                raise
            await self._crash(ChannelError("the callback was cancelled from inside"))
        except Exception as error:
            await self._crash(error)
        finally:
            if mailbox and not self._ended:
                self._schedule()
            else:
                self._rest()

    def _rest(self) -> None:
        """Until there is mail again."""
        self._running = False
        if self._silence_seconds is not None and not self._ended:
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(self._silence_seconds, self._silent)
        if self._finished is not None:
            self._finished.set_result(None)

    # Handling mail

    async def _handle_join(self, join: commands.Join) -> None:
        if join.moved:
            await self._move_in(join)
            return
        started = perf_counter()
        payload = None
        try:
            payload = payloads.decode(join.codec, join.data)
            reply = self.channel.join(join.topic, payload)
            if reply is not None and hasattr(reply, "__await__"):
                reply = await self._in_time(reply)
            if self._ended:  # killed, and it would not end
                return
            reply = join_reply(self.channel, reply)
            codec, data = self._encode_reply(reply)
        except Exception as error:
            if self._ended:  # killed meanwhile
                return
            log.error("join crashed", topic=self.topic, socket_id=self.channel.socket.id, exc_info=error)
            codec, data = payloads.encode(JOIN_CRASHED)
            channel_telemetry.joined(self.channel, started, payload, "error")
            await self._refuse(codec, data, error)
            return
        channel_telemetry.joined(self.channel, started, payload, reply.status)
        if reply.status != "ok":
            await self._refuse(codec, data, "shutdown")
            return
        self._accept(codec, data)
        if type(self.channel).after_join is not Channel.after_join:
            result = self.channel.after_join(payload)
            if result is not None and hasattr(result, "__await__"):
                await result

    async def _in_time(self, reply: Awaitable[Any]) -> Any:
        """Await a join, for as long as it may take. Raises ChannelError after that."""
        seconds = self.channels.settings.join_timeout_seconds
        if seconds is None:
            return await reply
        try:
            async with asyncio.timeout(seconds) as limit:
                result = await reply
        except TimeoutError:
            if not limit.expired():
                raise
        if limit.expired():
            raise ChannelError(
                f"{type(self.channel).__name__}.join took over {seconds:g} s, worker.join_timeout_seconds"
            )
        return result

    def _accept(self, codec: int, data: bytes) -> None:
        self._joined = True
        since = self.channels.bus.sequence
        self.members = self.channels.members.add(self)
        intercepts = tuple(self.intercepts)
        self._send(commands.Joined(self.number, intercepts, since, codec, data))

    async def _refuse(self, codec: int, data: bytes, reason: Any) -> None:
        self._send(commands.Refused(self.number, codec, data))
        await self._finish(reason)

    async def _move_in(self, join: commands.Join) -> None:
        """Go on with a channel that another worker ran; what fails crashes it."""
        state = unpack(join.data)
        self._joined = True
        since = self.channels.bus.sequence
        self.members = self.channels.members.add(self)
        for out in self.channels.members.missed(self, state.seen):
            self.post_sized(out)
        await asyncio.gather(*map(self.subscribe, state.subscriptions))
        self.channels.move_in(self, state.tracked)
        result = self.channel.restore(state.snapshot)
        if result is not None and hasattr(result, "__await__"):
            result = await result
        self._expect_none("restore", result)
        if self._ended:  # killed, and it would not end
            return
        counters.count("channels_restored")
        self._send(commands.Joined(self.number, tuple(self.intercepts), since, 0, payloads.EMPTY))

    async def _handle_handover(self, handover: commands.Handover) -> None:
        """The gateway sends no more: once the mailbox is empty the channel can go."""
        self._put_back()  # pushes that were held here are handled here
        if self._mailbox:
            self._mailbox.append(handover)
            self._hurries = True  # else broadcasts that keep coming would keep it from ever being empty
            return
        seen = self.channels.members.seen(self)
        state = self.channel.snapshot()
        if state is not None and hasattr(state, "__await__"):
            state = await state
        if self._ended or self._gone or self._stop_reason is not None:
            return
        if state is None:
            await self._end(commands.Crashed, "shutdown")
            return
        await self._move_out(state, seen)

    async def _move_out(self, state: Any, seen: dict[str, int]) -> None:
        name, channels = type(self.channel).__name__, self.channels
        tracked, topics = channels.tracked(self), tuple(self._subscriptions or ())
        most = channels.settings.max_snapshot_bytes
        data = pack(name, HandoffState(state, topics, tracked, seen), most)
        assigns = pack_assigns(name, self.channel.assigns, channels.assigns_of(self))
        self._ended = True
        self._drop_mail()
        self._send(commands.Moved(self.number, self._after(), assigns, data))
        channels.move_out(self)
        self._released = True
        channel_telemetry.moved(self.channel)
        self._release()

    def _drop_mail(self) -> None:
        """What came while an async snapshot ran."""
        # Intercepted broadcasts are heard by the next worker; those of other topics are not.
        lost = sum(type(mail) in (InfoMessage, SubscribedBroadcast) for mail in self._mailbox)
        if lost:
            counters.count("messages_not_moved", lost)
            log.warning("messages to a channel that moves are dropped", topic=self.topic, messages=lost)
        self._mailbox.clear()

    async def _handle_push(self, push: commands.Push) -> None:
        if self._held is not None:
            self._held.append(push)
            return
        self._bytes -= len(push.data)
        started = perf_counter()
        self._ref = push.ref
        self._handling = True
        channel = self.channel
        payload = payloads.decode(push.codec, push.data)
        event = push.event
        name = channel.handlers.get(event) if isinstance(event, str) else None
        if name is not None:
            result = getattr(channel, name)(payload)
        else:
            result = channel.handle_in(event, payload)
        if result is not None:
            if hasattr(result, "__await__"):
                result = await result
            if result is not None:
                reply = push_reply(channel, event, result)
                self.reply(None, reply.status, reply.payload)
        self._handling = False
        channel_telemetry.handled(channel, started, event, payload)

    async def _handle_out(self, out: InterceptedBroadcast) -> None:
        self._bytes -= len(out.data)
        payload = payloads.decode(out.codec, out.data)
        result = self.channel.handle_out(out.event, payload)
        if result is not None and hasattr(result, "__await__"):
            result = await result
        self._expect_none("handle_out", result)

    def _handle_subscribed(self, mail: SubscribedBroadcast) -> Coroutine[Any, Any, None]:
        """What `_handle_info` returns, for `run` to await: no coroutine around another."""
        self._bytes -= len(mail.data)
        payload = payloads.decode(mail.codec, mail.data)
        return self._handle_info(InfoMessage(Broadcast(mail.topic, mail.event, payload)))

    async def _handle_info(self, info: InfoMessage) -> None:
        if type(self.channel).handle_info is Channel.handle_info:
            log.warning(
                "message ignored: the channel has no handle_info",
                channel=type(self.channel).__name__,
                topic=self.topic,
                message=repr(info.message)[:200],
            )
            return
        result = self.channel.handle_info(info.message)
        if result is not None and hasattr(result, "__await__"):
            result = await result
        self._expect_none("handle_info", result)

    def _expect_none(self, callback: str, result: Any) -> None:
        if result is not None:
            raise ChannelError(
                f"{type(self.channel).__name__}.{callback} returned {result!r}; expected None:"
                " there is no push to reply to"
            )

    def _release(self) -> None:
        self.channels.remove(self)
        self._end_silence()
        for timer in self._timers or ():
            timer.cancel()
        self._unsubscribe_all()


HANDLERS: dict[type[Any], Any] = {
    commands.Join: ChannelServer._handle_join,
    commands.Push: ChannelServer._handle_push,
    commands.Leave: ChannelServer._handle_leave,
    commands.Handover: ChannelServer._handle_handover,
    InterceptedBroadcast: ChannelServer._handle_out,
    SubscribedBroadcast: ChannelServer._handle_subscribed,
    InfoMessage: ChannelServer._handle_info,
    ClientGone: ChannelServer._handle_end,
    StopRequested: ChannelServer._handle_stop,
}
