"""An application that publishes and subscribes from everywhere: channels, background tasks, HTTP handlers."""

import asyncio
import os

from tornado.web import RequestHandler

from mesh import Channel, Endpoint, SocketHandler, on


class RoomChannel(Channel):
    intercept = ("intercepted",)
    spread = "socket"

    @on("where")
    def where(self, payload):
        return {"pid": os.getpid(), "node": endpoint.node_id}

    @on("tell_others")
    async def tell_others(self, payload):
        await endpoint.broadcast_from(self, payload["topic"], "told", payload)
        return {}

    @on("tell_all")
    async def tell_all(self, payload):
        await endpoint.broadcast_from(None, payload["topic"], "told", payload)
        return {}

    @on("tell_node")
    async def tell_node(self, payload):
        await endpoint.direct_broadcast(payload["node"], payload["topic"], payload["event"], payload)
        return {}

    @on("subscribe")
    async def subscribe_to(self, payload):
        await self.subscribe(payload["topic"])
        return {}

    def handle_info(self, message):
        self.push("info", {"topic": message.topic, "event": message.event, "payload": message.payload})

    def handle_out(self, event, payload):
        self.push("out", payload)


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}


class NodeHandler(RequestHandler):
    """`GET /node`: the id of the node that answers."""

    def get(self):
        self.finish(self.settings["endpoint"].node_id)


async def answer():
    """Answers what is asked on any `ask:` topic."""
    async with endpoint.subscribe("ask:*") as broadcasts:
        async for broadcast in broadcasts:
            reply = {"pid": os.getpid(), "topic": broadcast.topic, "asked": broadcast.payload}
            endpoint.broadcast("room:answers", "answer", reply)


starts = 0


async def fragile():
    """Raises when it is told to."""
    global starts
    starts += 1
    try:
        async with endpoint.subscribe("fragile:1") as broadcasts:
            endpoint.broadcast("room:fragile", "started", {"pid": os.getpid(), "starts": starts})
            async for broadcast in broadcasts:
                if broadcast.payload.get("break"):
                    raise RuntimeError("raised on request")
                endpoint.broadcast("room:fragile", "alive", {"pid": os.getpid(), "starts": starts})
    except asyncio.CancelledError:
        endpoint.broadcast("room:fragile", "cancelled", {"pid": os.getpid()})
        raise


async def once():
    """Is done at once."""


endpoint = Endpoint(
    sockets={"/socket": UserSocket},
    http=[("/node", NodeHandler)],
    background=[answer, fragile, once],
)
