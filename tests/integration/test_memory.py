"""Clients that have gone leave nothing behind that only a garbage collection could free."""

import gc
from contextlib import AsyncExitStack

import pytest
import structlog

from mesh.nodes.application import load
from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from tests.support.until import until
from tests.support.websocket import PhoenixClient, run

OURS = ("gateway.", "mesh.", "nodes.", "examples.")


def drop(_logger, _method, _event):
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def no_pretty_tracebacks():
    """Those of structlog's default show local variables, and looking at a frame's makes a circle of it."""
    before = structlog.get_config()
    structlog.configure(processors=[drop])
    yield
    structlog.configure(**before)


def restore():
    """Undo what the test does to the garbage collector."""
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


async def visit(url, how):
    client = await PhoenixClient.connect(url)
    topic = "presence:1" if how == "presence" else "room:1"
    await client.join(topic)
    if how == "push":
        await client.push(topic, "echo", {"a": 1})
    if how == "crash":
        client.cast(topic, "crash", {})
        await client.event("phx_error")
    if how == "leave":
        client.cast(topic, "phx_leave", {})
        await client.event("phx_close")
    client.close()


@pytest.mark.parametrize("how", ["close", "leave", "push", "presence", "crash"])
def test_what_a_client_was_made_of_is_free_when_it_is_gone(how):
    async def scenario():
        endpoint, settings = load("examples.conformance:endpoint"), build({"gateway": {"port": 0}})
        async with AsyncExitStack() as stack:
            node = await EmbeddedNode.start(stack, endpoint, settings)
            gc.collect()
            gc.disable()
            stack.callback(restore)
            for _ in range(20):
                await visit(node.gateway.addresses[0], how)
            await until(lambda: not node.gateway.hub.clients)
            await until(lambda: node.worker.channels.counts() == (0, 0))
            await until(lambda: not any(getattr(each, "lingering", ()) for each in node.gateway.transports))
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [
                type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith(OURS)
            ]
            assert left == []

    run(scenario())
