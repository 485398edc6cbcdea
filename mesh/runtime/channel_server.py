"""The life of one channel: join → callbacks → terminate, one callback at a time.

Mail arrives from the link, from the bus (intercepted and subscribed broadcasts) and from the channel
itself; `run` handles it in order. What the channel sends leaves as link commands, stamped so that
the gateway keeps the order of what one channel produced (docs/protocol.md §3).
Source: Phoenix.Channel.Server.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Coroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mesh import payloads, telemetry
from mesh.channel import TIMEOUT, Channel, Reply, SocketRef
from mesh.errors import ChannelError, NotJoinedError, PayloadError
from mesh.link import commands
from mesh.messages import BINARY, HEARTBEAT_TOPIC, JSON, MSGPACK, Sender, check_name
from mesh.runtime.mail import End, Info, Out, Stop
from mesh.runtime.returns import join_reply, push_reply
from mesh.serializers import binary as binary_frames
from mesh.telemetry import counters, get_logger, stats

if TYPE_CHECKING:
    from mesh.runtime.channels import Channels, TopicMembers

log = get_logger("mesh.channel")

JOIN_CRASHED = {"reason": "join crashed"}


class ChannelServer:
    """One channel and its mailbox. Implements ChannelContext and Work."""

    __slots__ = (
        "_codec", "_ended", "_finished", "_gone", "_handling", "_joined", "_last_sent",
        "_mailbox", "_ref", "_running", "_silence", "_silence_seconds", "_stop_reason",
        "_subscriptions", "_timers", "channel", "channels", "intercepts", "link", "members", "number",
        "task", "topic",
    )  # fmt: skip

    def __init__(
        self,
        channels: "Channels",
        link: bytes,
        join: commands.Join,
        channel: type[Channel],
        socket: Any,
    ) -> None:
        self.channels = channels
        self.link = link
        self.number = join.channel
        self.topic = join.topic
        self.task: asyncio.Task[None] | None = None
        self.channel = channel(self, socket, join.topic, join.join_ref)
        self.intercepts = frozenset(channel.intercept)
        self.members: TopicMembers | None = None
        self._codec = MSGPACK if join.serializer == "v2_msgpack" else JSON
        self._mailbox: deque[Any] = deque()
        self._running = False
        self._joined = False
        self._last_sent = 0
        self._ended = False
        self._finished: asyncio.Future[None] | None = None
        self._gone = False
        self._handling = False
        self._ref: Any = None
        self._stop_reason: str | None = None
        self._silence_seconds: float | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._timers: set[asyncio.TimerHandle] | None = None
        self._subscriptions: set[str] | None = None
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
        try:
            while mailbox and not self._ended:
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
            self._tell_joined(started, payload, "error")
            await self._refuse(codec, data, error)
            return
        self._tell_joined(started, payload, reply.status)
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
        self._tell_handled(started, event, payload)

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
        counters.count("channels_crashed")
        if telemetry.attached("channel_crashed"):
            telemetry.emit("channel_crashed", {}, {**self._metadata(), "error": error})
        log.error(
            "channel crashed",
            topic=self.topic,
            socket_id=self.channel.socket.id,
            channel=type(self.channel).__name__,
            exc_info=error,
        )
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
        if telemetry.attached("channel_ended"):
            telemetry.emit("channel_ended", {}, {**self._metadata(), "reason": reason})
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

    # Telling

    def _tell_joined(self, started: float, params: Any, status: str) -> None:
        duration = perf_counter() - started
        stats.join_seconds.observe(duration)
        if status == "ok":
            stats.joins_ok += 1
        else:
            stats.joins_refused += 1
        level = self.channel.log_join
        if level and telemetry.enabled(level) and not self.topic.startswith(HEARTBEAT_TOPIC):
            getattr(log, level)(
                "joined" if status == "ok" else "join refused",
                **self._metadata(),
                milliseconds=telemetry.milliseconds(duration),
                params=telemetry.filtered(params),
            )
        if telemetry.attached("channel_joined"):
            telemetry.emit("channel_joined", {"duration": duration}, {**self._metadata(), "result": status})

    def _tell_handled(self, started: float, event: Any, params: Any) -> None:
        duration = perf_counter() - started
        stats.pushes += 1
        stats.handle_in_seconds.observe(duration)
        level = self.channel.log_handle_in
        if level and telemetry.enabled(level) and not self.topic.startswith(HEARTBEAT_TOPIC):
            getattr(log, level)(
                "handled",
                **self._metadata(),
                push=event,
                milliseconds=telemetry.milliseconds(duration),
                params=telemetry.filtered(params),
            )
        if telemetry.attached("channel_handled_in"):
            telemetry.emit(
                "channel_handled_in", {"duration": duration}, {**self._metadata(), "event": event}
            )

    def _metadata(self) -> dict[str, Any]:
        channel = self.channel
        return {"channel": type(channel).__name__, "topic": self.topic, "socket_id": channel.socket.id}

    # ChannelContext: what the channel can do

    def push(self, event: str, payload: Any) -> None:
        """To this client."""
        self._require_joined("push")
        check_name(event, "event")
        codec, data = payloads.encode_object(payload, self._codec)
        if codec == BINARY:
            self._require_binary(self.topic, event)
        stats.channel_pushes += 1
        self._send(commands.Pushed(self.number, self._after(), event, codec, data))

    def reply(self, ref: SocketRef | None, status: str, payload: Any) -> None:
        """To a push of this client."""
        self._require_joined("reply")
        check_name(status, "status")
        to = ref or self.socket_ref()
        if to.topic != self.topic:
            raise ChannelError(f"the push is one of {to.topic!r}; reply to it in that channel")
        codec, data = self._encode_reply(Reply(payload, status))
        stats.replies += 1
        self._send(commands.Reply(self.number, self._after(), to.ref, status, codec, data))

    def broadcast(self, event: str, payload: Any, to_self: bool) -> None:
        """To all members of the topic."""
        self._require_joined("broadcast")
        gateway = self.channels.gateway_of(self.link)
        sender = Sender(gateway, self.number, not to_self, self._last_sent)
        self.channels.pubsub.broadcast_from(sender, self.topic, event, payload)

    def sender(self) -> Sender:
        """Names this channel as one that must not get a broadcast."""
        return Sender(self.channels.gateway_of(self.link), self.number, True, self._last_sent)

    def socket_ref(self) -> SocketRef:
        """The push being handled."""
        if not self._handling:
            raise ChannelError("socket_ref and reply without ref need a push that is being handled")
        return SocketRef(self.topic, self._ref)

    def stop(self, reason: str) -> None:
        """End after the current callback."""
        self._require_joined("stop")
        check_name(reason, "reason")
        self._stop_reason = reason
        if not self._running and not self._ended:
            self._schedule_stop()

    def _schedule_stop(self) -> None:
        reason, self._stop_reason = self._stop_reason, None
        self.post(Stop(reason or "normal"))

    async def _handle_stop(self, stop: Stop) -> None:
        await self._stop(stop.reason)

    def send(self, message: Any, delay_seconds: float) -> None:
        """Queue for `handle_info`."""
        if not delay_seconds < math.inf:
            raise ChannelError(f"delay_seconds {delay_seconds!r}: want a number of seconds")
        if delay_seconds <= 0:
            self.post(Info(message))
            return
        timers = self._timers = self._timers if self._timers is not None else set()

        def due() -> None:
            timers.discard(timer)
            self.post(Info(message))

        timer = asyncio.get_running_loop().call_later(delay_seconds, due)
        timers.add(timer)

    def timeout(self, seconds: float) -> None:
        """Queue TIMEOUT for `handle_info` after so much silence; it begins when the callback ends."""
        if not (isinstance(seconds, (int, float)) and 0 <= seconds < math.inf):
            raise ChannelError(f"timeout {seconds!r}: want a number of seconds, at least 0")
        self._end_silence()
        self._silence_seconds = seconds
        if not self._running and not self._ended:
            self._silence = asyncio.get_running_loop().call_later(seconds, self._silent)

    def _silent(self) -> None:
        self._silence = None
        if not self._running:  # else something has just come
            self.post(Info(TIMEOUT))

    def _end_silence(self) -> None:
        self._silence_seconds = None
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def subscribe(self, topic: str) -> Awaitable[None]:
        """Deliver broadcasts on `topic` to `handle_info`."""
        future = self.channels.subscribe(self, topic)
        if self._subscriptions is None:
            self._subscriptions = set()
        self._subscriptions.add(topic)
        return future

    def unsubscribe(self, topic: str) -> None:
        """No longer."""
        if self._subscriptions and topic in self._subscriptions:
            self._subscriptions.discard(topic)
            self.channels.unsubscribe(self, topic)

    # Sending

    def _send(self, command: commands.ToGateway) -> None:
        if not self._gone:
            self._last_sent = self.channels.send(self.link, command)

    def _after(self) -> int:
        return self.members.sequence if self.members is not None else 0

    def _encode_reply(self, reply: Reply) -> tuple[int, bytes]:
        codec, data = payloads.encode(reply.payload, self._codec)
        if codec == BINARY:
            self._require_binary(self.topic, reply.status)
        return codec, data

    def _require_joined(self, verb: str) -> None:
        if not self._joined:
            raise NotJoinedError(
                f"{verb} in {type(self.channel).__name__}.join: the client has not joined yet;"
                " do it in after_join"
            )

    def _require_binary(self, *fields: str) -> None:
        """As in Phoenix, whoever sends what this client's protocol cannot carry crashes."""
        socket = self.channel.socket
        if socket.serializer == "v1_json":
            raise PayloadError("a V1 client cannot receive bytes; it must connect with vsn 2.0.0")
        if socket.transport == "longpoll":
            raise PayloadError("a long-poll client cannot receive bytes; it must connect by WebSocket")
        if socket.serializer != "v2_json":
            return
        for field in fields:
            if len(field.encode()) > binary_frames.FIELD_BYTES:
                raise PayloadError(
                    f"{field[:32]!r}… is over {binary_frames.FIELD_BYTES} bytes and cannot stand in"
                    " a binary frame"
                )


HANDLERS: dict[type[Any], Any] = {
    commands.Join: ChannelServer._handle_join,
    commands.Push: ChannelServer._handle_push,
    commands.Leave: ChannelServer._handle_leave,
    Out: ChannelServer._handle_out,
    Info: ChannelServer._handle_info,
    End: ChannelServer._handle_end,
    Stop: ChannelServer._handle_stop,
}
