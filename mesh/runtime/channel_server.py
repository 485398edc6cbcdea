"""The life of one channel: join → callbacks → terminate, one callback at a time.

Mail arrives from the link, from the bus (intercepted and subscribed broadcasts) and from the channel
itself; `run` handles it in order.
Source: Phoenix.Channel.Server.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mesh import payloads
from mesh.channel import Channel
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.runtime import telling
from mesh.runtime.context import WorkerContext
from mesh.runtime.mail import End, Info, Out, Stop
from mesh.runtime.returns import join_reply, push_reply
from mesh.telemetry import counters, get_logger

if TYPE_CHECKING:
    from mesh.runtime.channels import Channels

log = get_logger("mesh.channel")

MAILS_PER_TURN = 256
"""Of one channel, before the event loop and the others get a turn."""
JOIN_CRASHED = {"reason": "join crashed"}


class ChannelServer(WorkerContext):
    """One channel and its mailbox. Implements Work."""

    __slots__ = ("_finished", "_mailbox", "intercepts", "task")

    def __init__(
        self,
        channels: "Channels",
        link: bytes,
        join: commands.Join,
        channel: type[Channel],
        socket: Any,
    ) -> None:
        super().__init__(channels, link, join)
        self.task: asyncio.Task[None] | None = None
        self.channel = channel(self, socket, join.topic, join.join_ref)
        self.intercepts = frozenset(channel.intercept)
        self._finished: asyncio.Future[None] | None = None
        self._mailbox: deque[Any] = deque()
        self._mailbox.append(join)
        self._schedule()

    @property
    def status(self) -> str:
        """What ChannelInfo says of it."""
        if self._ended or any(type(mail) is commands.Leave for mail in self._mailbox):
            return "leaving"
        return "joined" if self._joined else "joining"

    @property
    def waiting(self) -> int:
        """Messages in the mailbox."""
        return len(self._mailbox)

    @property
    def waits(self) -> bool:
        """Whether there will be mail by a timer."""
        return bool(self._timers or self._silence)

    # Mail

    def post(self, mail: Any) -> None:
        """Queue mail for this channel; over the bound the channel crashes, nobody else notices."""
        if self._ended:
            return
        if len(self._mailbox) >= self.channels.settings.max_mailbox_messages:
            self._overflow()
            return
        self._mailbox.append(mail)
        if not self._running:
            self._schedule()

    def replace(self) -> None:
        """The client joined anew: end at once, as Phoenix kills the old channel.

        A leave that came before gets its answer first, if the callbacks before it end in time.
        """
        if any(type(mail) is commands.Leave for mail in self._mailbox):
            delay = self.channels.settings.kill_seconds
            asyncio.get_running_loop().call_later(delay, self._kill, "duplicate_join", commands.Closed)
            return
        self._kill("duplicate_join", commands.Closed)

    def end(self, reason: str) -> None:
        """The client is gone: end after the mail that came before."""
        self._gone = True
        if self._joined:
            self.post(End(reason))
        else:  # nobody waits for this join any longer
            self._kill(reason, None)

    def shut_down(self) -> None:
        """The worker stops: end at once; the client gets `phx_error` and joins another worker.

        A join under way is not answered: when the link ends, its gateway sends it to another worker.
        """
        self._kill("shutdown", commands.Crashed if self._joined else None)

    def run(self) -> Coroutine[Any, Any, None]:
        """Handle the mail there is. Never raises, but for cancellation after the channel's end."""
        return self._run()

    def _schedule(self) -> None:
        self._running = True
        self.channels.runners.submit(self)

    async def _run(self) -> None:
        mailbox = self._mailbox
        handled = 0
        try:
            while mailbox and not self._ended:
                handled += 1
                if handled % MAILS_PER_TURN == 0:  # a channel that sends itself messages without end
                    await asyncio.sleep(0)
                mail = mailbox.popleft()
                if self._silence_seconds is not None:
                    self._end_silence()
                await HANDLERS[type(mail)](self, mail)
                if self._stop_reason is not None and not self._ended:
                    await self._stop(self._stop_reason)
        except asyncio.CancelledError:
            if self._ended:  # killed
                raise
            await self._crash(ChannelError("the callback was cancelled from inside"))
        except Exception as error:
            await self._crash(error)
        finally:
            self._running = False
            if self._silence_seconds is not None and not self._ended:
                loop = asyncio.get_running_loop()
                self._silence = loop.call_later(self._silence_seconds, self._silent)
            if self._finished is not None:
                self._finished.set_result(None)

    # Handling mail

    async def _handle_join(self, join: commands.Join) -> None:
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
            telling.joined(self.channel, started, payload, "error")
            await self._refuse(codec, data, error)
            return
        telling.joined(self.channel, started, payload, reply.status)
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
        self.members = self.channels.add_member(self)
        intercepts = tuple(self.intercepts)
        self._send(commands.Joined(self.number, intercepts, since, codec, data))

    async def _refuse(self, codec: int, data: bytes, reason: Any) -> None:
        self._send(commands.Refused(self.number, codec, data))
        await self._finish(reason)

    async def _handle_push(self, push: commands.Push) -> None:
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
        telling.handled(channel, started, event, payload)

    async def _handle_leave(self, leave: commands.Leave) -> None:
        self._send(commands.Reply(self.number, self._after(), leave.ref, "ok", 0, payloads.EMPTY))
        await self._end(commands.Closed, "left")

    async def _handle_out(self, out: Out) -> None:
        payload = payloads.decode(out.codec, out.data)
        result = self.channel.handle_out(out.event, payload)
        if result is not None and hasattr(result, "__await__"):
            result = await result
        self._expect_none("handle_out", result)

    async def _handle_info(self, info: Info) -> None:
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

    async def _handle_end(self, end: End) -> None:
        await self._end(None, end.reason)

    async def _handle_stop(self, stop: Stop) -> None:
        await self._stop(stop.reason)

    def _expect_none(self, callback: str, result: Any) -> None:
        if result is not None:
            raise ChannelError(
                f"{type(self.channel).__name__}.{callback} returned {result!r}; expected None:"
                " there is no push to reply to"
            )

    # The end

    async def _stop(self, reason: str) -> None:
        if reason in ("normal", "shutdown") or reason.startswith("shutdown:"):
            await self._end(commands.Closed, reason)
            return
        log.error("channel stopped", topic=self.topic, socket_id=self.channel.socket.id, reason=reason)
        await self._end(commands.Crashed, reason)

    async def _crash(self, error: Exception) -> None:
        if self._ended:
            return
        telling.crashed(self.channel, error)
        await self._end(commands.Crashed, error)

    async def _end(
        self, command: type[commands.Closed] | type[commands.Crashed] | None, reason: Any
    ) -> None:
        if self._ended:
            return
        self._ended = True
        if command is not None:
            self._send(command(self.number, self._after()))
        await self._finish(reason)

    async def _finish(self, reason: Any) -> None:
        """Forget everything, run `terminate`."""
        self._ended = True
        self._mailbox.clear()
        self._release()
        telling.ended(self.channel, reason)
        try:
            result = self.channel.terminate(reason)
            if result is not None and hasattr(result, "__await__"):
                await result
        except Exception as error:
            log.error("terminate crashed", topic=self.topic, exc_info=error)
        self.channels.untrack(self)

    def _release(self) -> None:
        self.channels.remove(self)
        self._end_silence()
        for timer in self._timers or ():
            timer.cancel()
        for topic in list(self._subscriptions or ()):
            self.unsubscribe(topic)

    def _kill(
        self,
        reason: str,
        command: type[commands.Closed] | type[commands.Crashed] | None,
    ) -> None:
        """End without handling the mail that waits; what suspends is cancelled."""
        if self._ended:
            return
        self._ended = True
        self._mailbox.clear()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        self.channels.spawn(self._after_kill(reason, command))

    async def _after_kill(
        self, reason: str, command: type[commands.Closed] | type[commands.Crashed] | None
    ) -> None:
        try:
            async with asyncio.timeout(self.channels.settings.kill_seconds):
                if self._running:
                    self._finished = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._finished)
                await self._finish(reason)
        except TimeoutError:
            log.error("callback did not end in time", topic=self.topic, reason=reason)
            self._release()
            self.channels.untrack(self)
        if command is not None:
            self._send(command(self.number, self._after()))

    def _overflow(self) -> None:
        counters.count("mailboxes_overflowed")
        log.error(
            "mailbox is full: the channel ends",
            topic=self.topic,
            socket_id=self.channel.socket.id,
            limit=self.channels.settings.max_mailbox_messages,
        )
        self._kill("mailbox_overflow", commands.Crashed)


HANDLERS: dict[type[Any], Any] = {
    commands.Join: ChannelServer._handle_join,
    commands.Push: ChannelServer._handle_push,
    commands.Leave: ChannelServer._handle_leave,
    Out: ChannelServer._handle_out,
    Info: ChannelServer._handle_info,
    End: ChannelServer._handle_end,
    Stop: ChannelServer._handle_stop,
}
