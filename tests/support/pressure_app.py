"""Channels that cannot keep up, for the tests of back-pressure."""

import asyncio
import time

from mesh import Channel, Endpoint, Mount, SocketHandler, on

gate = asyncio.Event()
"""Of the worker: while it is shut, GatedChannels wait."""


class GateChannel(Channel):
    """Opens and shuts the gate; answers at once."""

    @on("open")
    def open(self, payload):
        gate.set()
        return {}

    @on("shut")
    def shut(self, payload):
        gate.clear()
        return {}

    @on("echo")
    def echo(self, payload):
        return payload


class GatedChannel(Channel):
    """Handles nothing until the gate is open; answers with the number it was given."""

    @on("work")
    async def work(self, payload):
        await gate.wait()
        return {"n": payload["n"], "data": "x" * payload.get("size", 0)}


class BusyChannel(Channel):
    """Keeps its worker from everything else meanwhile."""

    @on("work")
    def work(self, payload):
        time.sleep(payload["seconds"])
        return {"n": payload["n"]}


class PacedChannel(Channel):
    """Publishers wait for its slowest reader."""

    slow_consumer = "pause_publisher"

    @on("say")
    def say(self, payload):
        self.broadcast_from("said", payload)


class User(SocketHandler):
    channels = {
        "gate:*": GateChannel,
        "gated:*": GatedChannel,
        "busy:*": BusyChannel,
        "paced:*": PacedChannel,
    }


endpoint = Endpoint(sockets={"/socket": Mount(User, longpoll=True)})
