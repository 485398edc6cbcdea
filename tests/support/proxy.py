"""A proxy in this process, and what connects to it."""

import asyncio
import contextlib
import os
import random
import socket

import zmq

from mesh import settings
from mesh.bus.contract import Handlers
from mesh.bus.discovery.announcements import NodeHandlers
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.errors import NodeError
from mesh.nodes.proxy import ProxyNode

_chance = random.SystemRandom()  # hypothesis seeds the other one, the same in each process


def two_ports_in_a_row():
    """A proxy listens on one port and the next.

    The kernel gives these to nobody who asks for any port, and no process that runs tests beside this one
    looks among the same, so they stay free until they are used.
    """
    beside = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 8
    while True:
        port = _chance.randrange(10_000 + 2 * beside, 32_000, 16)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def free_address():
    return f"tcp://127.0.0.1:{two_ports_in_a_row()}"


@contextlib.asynccontextmanager
async def proxy(address):
    """A proxy that is there until the block ends."""
    async with contextlib.AsyncExitStack() as stack:
        await _start(stack, address)
        yield address


async def _start(stack, address, tries=1000):
    """libzmq gives a closed socket's port back a little later."""
    given = settings.load(flags={"bus": {"proxies": [address]}})
    while True:
        try:
            async with contextlib.AsyncExitStack() as trial:
                await ProxyNode.start(trial, given)
                stack.push_async_exit(trial.pop_all())
                return
        except NodeError:
            tries -= 1
            if not tries:
                raise
            await asyncio.sleep(0.01)


def handlers(**given):
    """Handlers of a bus: these, and no others."""
    none = {
        "broadcast": None,
        "recorded": None,
        "keeps": None,
        "messages": {},
        "published": None,
        "unread": None,
        "paths_changed": None,
    }
    return Handlers(**none | given)


def node_handlers(**given):
    """Handlers of an announcer: these, and no others."""
    none = {"up": None, "down": None, "lost": None, "reported_lost": lambda: None, "gone": None}
    return NodeHandlers(**none | given)


@contextlib.contextmanager
def bus(address, name, **given):
    """A node's bus over ZeroMQ, started with these handlers."""
    context = zmq.Context()
    made = ZeroMQBus(context, name, settings.load(flags={"bus": {"proxies": [address]}}).bus)
    made.start(handlers(**given))
    try:
        yield made
    finally:
        made.close()
        context.term()
