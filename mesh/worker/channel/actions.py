"""Carries out the actions of a channel's lifecycle table (lifecycle.py): one function for each action."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol

from mesh import cancellation
from mesh.telemetry import get_logger
from mesh.worker import channel_telemetry
from mesh.worker.channel.callbacks import Served
from mesh.worker.channel.lifecycle import TABLE, Action, Ending, Event, Life
from mesh.worker.channel.worker import ServerWorker
from mesh.worker.handoff.coordinator import MovableServer

log = get_logger(__name__)


class Living(Served, MovableServer, Protocol):
    """What the actions need from a channel's server.

    Attributes:
        execution_context: the context in which the callbacks run.
        kill_timer: kills the channel, unless it ends before.
    """

    execution_context: Context
    kill_timer: asyncio.TimerHandle | None

    @property
    def worker(self) -> ServerWorker:
        """The worker that runs the channel."""

    @property
    def life(self) -> Life:
        """The channel's lifecycle."""

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task in which a callback runs; None if none does."""

    async def callback_over(self) -> None:
        """Wait until the running callback has ended."""

    def change(self, event: Event, ending: Ending = ..., /) -> bool:
        """Handle an event; return whether `terminate` must be called."""

    async def end(self, event: Event, ending: Ending, /) -> None:
        """End the channel: call `terminate`, unless it has ended already."""


def _queue_last(server: Living, ending: Ending) -> None:
    server.mailbox.post_last(ending.message)


def _queue_again(server: Living, ending: Ending) -> None:
    server.mailbox.put_back()
    server.mailbox.requeue(ending.message)


def _mute(server: Living, _: Ending) -> None:
    server.context.muted = True


def _close_mailbox(server: Living, _: Ending) -> None:
    server.mailbox.close()


def _cancel_callback(server: Living, _: Ending) -> None:
    if server.task is not None and server.task is not asyncio.current_task():
        server.task.cancel()


def _kill_later(server: Living, ending: Ending) -> None:
    if server.kill_timer is None:  # else it is killed earlier, for the first reason
        loop, seconds = asyncio.get_running_loop(), server.worker.settings.kill_seconds
        server.kill_timer = loop.call_later(seconds, server.change, Event.KILLED, ending)


def _say(server: Living, ending: Ending) -> None:
    context = server.context
    if ending.command is not None:
        context.send_command(ending.command(context.number, context.after()))


def _release(server: Living, _: Ending) -> None:
    if server.kill_timer is not None:
        server.kill_timer.cancel()
        server.kill_timer = None  # it refers to the server
    server.mailbox.close()
    server.worker.remove(server)
    server.context.release()


def _release_for_good(server: Living, _: Ending) -> None:
    if server.context.subscriptions:
        server.context.unsubscribe_all()
    server.worker.presences.untrack_all(server.context)
    # Objects in context variables are freed even if someone still holds the server.
    server.execution_context = Context()


def _terminate_in_task(server: Living, ending: Ending) -> None:
    server.worker.spawn(terminate(server, ending.reason), server.execution_context)


def _terminate_after_callback(server: Living, ending: Ending) -> None:
    server.worker.spawn(_terminate_killed(server, ending), server.execution_context)


async def terminate(server: Living, reason: Any) -> None:
    """Call `terminate` and log its exception. Whatever happens in it, the channel has then ended."""
    channel_telemetry.ended(server.channel, reason)
    try:
        result = server.channel.terminate(reason)
        if result is not None and hasattr(result, "__await__"):
            await result
    except BaseException as error:
        if cancellation.must_propagate(error):
            raise
        log.error("terminate crashed", topic=server.context.topic, exc_info=error)
    finally:
        server.change(Event.TERMINATED)


async def _terminate_killed(server: Living, ending: Ending) -> None:
    """Call `terminate` after the running callback has ended; both may take `worker.kill_seconds` in all."""
    try:
        async with asyncio.timeout(server.worker.settings.kill_seconds):
            await server.callback_over()
            await server.end(Event.CALLBACK_ENDED, ending)
    except TimeoutError:
        log.error("callback did not end in time", topic=server.context.topic, reason=ending.reason)
        server.change(Event.CALLBACK_STUCK)
    _say(server, ending)


ACTIONS: dict[Action, Callable[[Living, Ending], None]] = {
    Action.QUEUE_LAST: _queue_last,
    Action.QUEUE_AGAIN: _queue_again,
    Action.MUTE: _mute,
    Action.CLOSE_MAILBOX: _close_mailbox,
    Action.CANCEL_CALLBACK: _cancel_callback,
    Action.KILL_LATER: _kill_later,
    Action.SAY: _say,
    Action.RELEASE: _release,
    Action.TERMINATE_IN_TASK: _terminate_in_task,
    Action.TERMINATE_AFTER_CALLBACK: _terminate_after_callback,
    Action.RELEASE_FOR_GOOD: _release_for_good,
}
"""All actions except TERMINATE, which the server awaits itself."""

STEPS = {
    actions: (
        tuple(ACTIONS[each] for each in actions if each is not Action.TERMINATE),
        Action.TERMINATE in actions,
    )
    for _, actions in TABLE.values()
}
"""For each sequence of actions in the table: their functions, and whether `terminate` is due then."""
