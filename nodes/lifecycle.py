"""Runs a node's process: start, wait for SIGINT, SIGTERM or SIGHUP, stop."""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Protocol

from mesh.settings import Settings
from mesh.telemetry import get_logger
from nodes.descriptors import make_room
from nodes.event_loop import EventLoop
from nodes.garbage import GarbageCollection
from nodes.signals import signals

log = get_logger("nodes")

_RANDOM_SECRET = secrets.token_urlsafe(32)


class Node(Protocol):
    """A node, as its process runs it."""

    async def start(self) -> None:
        """Start the node. Raises NodeError if that fails."""

    async def aclose(self) -> None:
        """Stop the node; may be called after a failed start."""


def new_id(kind: str) -> str:
    """Return a new node id, such as `gateway-` and 16 hexadecimal digits."""
    return f"{kind}-{secrets.token_hex(8)}"


def secret(settings: Settings) -> str:
    """Return the secret that signs this mesh's tokens; by default a random one of this process."""
    configured = settings.security.secret_key
    return configured.get_secret_value() if configured is not None else _RANDOM_SECRET


def run(
    make: Callable[[], Node], started: Callable[[Node], Awaitable[None] | None], settings: Settings
) -> None:
    """Run a node until it is asked to stop. `started` is called once it is up.

    Raises:
        NodeError: if it cannot start.
        StoppedError: if a signal came before it was up.
    """
    signals.install()
    make_room()
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(_run(make, started, settings))


async def _run(
    make: Callable[[], Node], started: Callable[[Node], Awaitable[None] | None], settings: Settings
) -> None:
    garbage = GarbageCollection(settings.gc)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals.on_stop(lambda: call_soon(loop, stop.set))
    node = make()
    try:
        await _until_up(node, started, stop)
        garbage.start()
        await stop.wait()
        log.info("stopping")
    finally:
        garbage.close()
        await node.aclose()


async def _until_up(
    node: Node, started: Callable[[Node], Awaitable[None] | None], stop: asyncio.Event
) -> None:
    """Start the node; a signal cancels the start at once."""

    async def start() -> None:
        await node.start()
        waiting = started(node)
        if waiting is not None:
            await waiting

    starting = asyncio.create_task(start(), name="start")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            return starting.result()
        starting.cancel()
        await asyncio.wait((starting,))
        signals.check()
    finally:
        stopping.cancel()


def call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Schedule a call, from a signal handler too; no effect if the loop has ended."""
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(call)
