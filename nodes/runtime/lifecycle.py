"""Runs a node's process: start, wait for SIGINT, SIGTERM or SIGHUP, stop.

A node is started by a coroutine function that is passed an AsyncExitStack. Each step of the start registers
on the stack what undoes it. So a node stops in the reverse order of its start, and a start that fails or is
cancelled undoes what was done until then.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from mesh.nodes.runtime import exiting
from mesh.nodes.runtime.descriptors import enlarge_table
from mesh.nodes.runtime.event_loop import EventLoop
from mesh.nodes.runtime.garbage import GarbageCollection
from mesh.nodes.runtime.signals import signals
from mesh.settings import Settings
from mesh.telemetry import get_logger

log = get_logger(__name__)

Node = TypeVar("Node")

_RANDOM_SECRET = secrets.token_urlsafe(32)


def new_id(kind: str) -> str:
    """Return a new node id, such as `gateway-` and 16 hexadecimal digits."""
    return f"{kind}-{secrets.token_hex(8)}"


def secret(settings: Settings) -> str:
    """Return the secret that signs this mesh's tokens; by default a random one of this process."""
    configured = settings.security.secret_key
    return configured.get_secret_value() if configured is not None else _RANDOM_SECRET


def run(
    start: Callable[[AsyncExitStack], Coroutine[Any, Any, Node]],
    on_started: Callable[[Node], None],
    settings: Settings,
) -> None:
    """Run a node until it is asked to stop.

    Args:
        start: starts the node; the stack that it is passed stops the node.
        on_started: called with the node once it is up.
        settings: all settings.

    Raises:
        NodeError: if it cannot start.
        StoppedError: if a signal came before it was up.
    """
    signals.install()
    enlarge_table()
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(_run(start, on_started, settings))
        exiting.end_soon(0)


async def _run(
    start: Callable[[AsyncExitStack], Coroutine[Any, Any, Node]],
    on_started: Callable[[Node], None],
    settings: Settings,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_stop(lambda: call_soon(loop, stop.set))
    async with AsyncExitStack() as stack:
        on_started(await _start_or_stop(start(stack), stop))
        garbage = GarbageCollection(settings.gc)
        garbage.start()
        stack.callback(garbage.close)
        await stop.wait()
        log.info("stopping")


async def _start_or_stop(start: Coroutine[Any, Any, Node], stop: asyncio.Event) -> Node:
    """Start the node; a signal cancels the start at once."""
    starting = asyncio.create_task(start, name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait((starting,))
            signals.check()
        return starting.result()
    finally:
        stopping.cancel()


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Schedule a call, from a signal handler too; no effect if the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
