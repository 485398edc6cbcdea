"""A worker's own recorded broadcasts come back from the bus: to those in it that intercept or subscribed."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from mesh import Channel, Endpoint, History, SocketHandler, on
from mesh.client import Client
from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from tests.support.until import PATIENCE, until


class Room(Channel):
    history = History()

    @on("say")
    def say(self, payload):
        self.broadcast("said", payload)


class Watcher(Channel):
    async def after_join(self, payload):
        await self.subscribe("room:1")
        self.push("watching", {})

    def handle_info(self, message):
        self.push("heard", message.payload)


class Interceptor(Channel):
    intercept = ("said",)

    def handle_out(self, event, payload):
        self.push(event, {**payload, "intercepted": True})


class Rooms(SocketHandler):
    channels = {"room:*": Room, "watch:*": Watcher}


class Interceptors(SocketHandler):
    channels = {"room:*": Interceptor}


def run(scenario, endpoint):
    async def main():
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):
            node = await EmbeddedNode.start(stack, endpoint, build({"gateway": {"port": 0}}))
            address = node.gateway.addresses[0].replace("http", "ws")
            await scenario(node, address, stack)

    asyncio.run(main())


async def joined(stack, url, topic, event):
    """A channel of a new client, and the payloads of this event that it receives."""
    channel = await (await stack.enter_async_context(Client(url))).join(topic)
    came = []
    channel.on(event, came.append)
    return channel, came


def test_a_channel_that_subscribed_receives_them():
    async def scenario(node, address, stack):
        room, said = await joined(stack, f"{address}/socket", "room:1", "said")
        await room.cast("say", {"n": 1})
        await until(lambda: said)
        client = await stack.enter_async_context(Client(f"{address}/socket"))
        watcher = await client.join("watch:1")
        heard, watching = [], []
        watcher.on("heard", heard.append)
        watcher.on("watching", watching.append)
        await until(lambda: watching)
        await room.cast("say", {"n": 2})
        await until(lambda: heard)
        assert heard == [{"n": 2}]
        assert said == [{"n": 1}, {"n": 2}]

    run(scenario, Endpoint({"/socket": Rooms}))


@pytest.mark.parametrize("pattern", ["room:1", "room:*"])
def test_a_task_that_subscribed_receives_them(pattern):
    heard, listening = [], asyncio.Event()

    async def listen():
        async with endpoint.subscribe(pattern) as broadcasts:
            listening.set()
            async for broadcast in broadcasts:
                heard.append(broadcast.payload)

    async def scenario(node, address, stack):
        await listening.wait()
        room, said = await joined(stack, f"{address}/socket", "room:1", "said")
        await room.cast("say", {"n": 1})
        await until(lambda: heard and said)
        assert heard == [{"n": 1}]

    endpoint = Endpoint({"/socket": Rooms}, background=[listen])
    run(scenario, endpoint)


def test_a_class_of_another_mount_intercepts_them():
    async def scenario(node, address, stack):
        room, said = await joined(stack, f"{address}/socket", "room:1", "said")
        _, intercepted = await joined(stack, f"{address}/other", "room:1", "said")
        await room.cast("say", {"n": 1})
        await until(lambda: said and intercepted)
        assert intercepted == [{"n": 1, "intercepted": True}]
        assert said == [{"n": 1}]

    run(scenario, Endpoint({"/socket": Rooms, "/other": Interceptors}))
