"""How a channel ends: left, stopped, crashed, replaced, killed, or because its client is gone.

Whatever the way, `terminate` runs at the end, but for a callback that will not end in time.
"""

import asyncio
from abc import abstractmethod
from contextvars import Context
from typing import TYPE_CHECKING, Any

from mesh import cancellation, payloads
from mesh.link import commands
from mesh.telemetry import get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel.mail import ClientGone, StopRequested
from mesh.worker.channel.mailbox import Mailbox

if TYPE_CHECKING:
    from mesh.worker.channels import Channels

log = get_logger("mesh.channel")

Last = type[commands.Closed] | type[commands.Crashed] | None
"""What the client hears."""


class Ending(Mailbox):
    """One channel's end."""

    __slots__ = ("_finished", "_moves_in", "task")

    def __init__(
        self, channels: "Channels", link: bytes, join: commands.Join, execution_context: Context
    ) -> None:
        super().__init__(channels, link, join, execution_context)
        self.task: asyncio.Task[None] | None = None
        self._finished: asyncio.Future[None] | None = None
        self._moves_in = join.moved

    @abstractmethod
    def _release(self) -> None:
        """Nothing more comes: from the link, from the bus, by a timer."""

    def replace(self) -> None:
        """The client joined anew: end at once, as Phoenix kills the old channel.

        A leave that came before gets its answer first, if the callbacks before it end in time.
        """
        if self.leaving:
            self._kill_later("duplicate_join", commands.Closed)
            return
        self._kill("duplicate_join", commands.Closed)

    def end(self, reason: str) -> None:
        """The client is gone: end after the mail that came before."""
        self._gone = True
        if self._joined:
            self.post(ClientGone(reason))
        elif self._moves_in:  # `terminate` needs what `restore` is about to be given
            self.post(ClientGone(reason))
            self._kill_later(reason, None)
        else:  # nobody waits for this join any longer
            self._kill(reason, None)

    def shut_down(self) -> None:
        """The worker stops: end at once; the client gets `phx_error` and joins another worker.

        A join under way is not answered: when the link ends, its gateway sends it to another worker.
        """
        self._kill("shutdown", commands.Crashed if self._joined else None)

    def malformed(self) -> None:
        """What its gateway says of it cannot be read: it crashes, and so does its join."""
        self._kill("malformed command", commands.Crashed)

    async def _handle_leave(self, leave: commands.Leave) -> None:
        if self._held is not None and self._catch_up(leave):
            return
        self._send(commands.Reply(self.number, self._after(), leave.ref, "ok", 0, payloads.EMPTY))
        await self._end(commands.Closed, "left")

    async def _handle_end(self, end: ClientGone) -> None:
        if self._held is not None and self._catch_up(end):
            return
        await self._end(None, end.reason)

    async def _handle_stop(self, stop: StopRequested) -> None:
        await self._stop(stop.reason)

    async def _stop(self, reason: str) -> None:
        if reason in ("normal", "shutdown") or reason.startswith("shutdown:"):
            await self._end(commands.Closed, reason)
            return
        log.error("channel stopped", topic=self.topic, socket_id=self.channel.socket.id, reason=reason)
        await self._end(commands.Crashed, reason)

    async def _crash(self, error: Exception) -> None:
        if self._ended:
            return
        channel_telemetry.crashed(self.channel, error)
        await self._end(commands.Crashed, error)

    async def _end(self, command: Last, reason: Any) -> None:
        if self._ended:
            return
        self._ended = True
        if command is not None:
            self._send(command(self.number, self._after()))
        await self._finish(reason)

    async def _finish(self, reason: Any) -> None:
        """Forget everything, run `terminate`."""
        self._ended = True
        self._clear()
        self._release()
        channel_telemetry.ended(self.channel, reason)
        try:
            result = self.channel.terminate(reason)
            if result is not None and hasattr(result, "__await__"):
                await result
        except (Exception, asyncio.CancelledError) as error:
            if cancellation.is_end(error):
                raise
            log.error("terminate crashed", topic=self.topic, exc_info=error)
        finally:
            self._release_for_good()
            self.let_go()

    def let_go(self) -> None:
        """Channel and server hold each other no longer: both are free without a garbage collection.

        Nor does the server hold what the channel's callbacks put into context variables.
        """
        remains = object.__new__(type(self.channel))
        remains.socket = self.channel.socket
        self.channel = remains
        self.execution_context = Context()

    def _kill_later(self, reason: str, command: Last) -> None:
        delay = self.channels.settings.kill_seconds
        asyncio.get_running_loop().call_later(delay, self._kill, reason, command)

    def _kill(
        self,
        reason: str,
        command: Last,
    ) -> None:
        """End without handling the mail that waits; what suspends is cancelled."""
        if self._ended:
            return
        self._ended = True
        self._clear()
        if self.task is not None and self.task is not asyncio.current_task():
            self.task.cancel()
        self.channels.spawn(self._after_kill(reason, command), self.execution_context)

    async def _after_kill(self, reason: str, command: Last) -> None:
        try:
            async with asyncio.timeout(self.channels.settings.kill_seconds):
                if self._running:
                    self._finished = asyncio.get_running_loop().create_future()
                    await asyncio.shield(self._finished)
                await self._finish(reason)
        except TimeoutError:
            log.error("callback did not end in time", topic=self.topic, reason=reason)
            self._release()
            self._release_for_good()
        if command is not None:
            self._send(command(self.number, self._after()))
