"""Channels that move when their worker stops, and one that does not."""

import asyncio
import os

from mesh import Broadcast, Channel, Endpoint, Presence, SocketHandler, on, refuse

presence = Presence()


class CountChannel(Channel):
    """Counts what it gets; says in each reply what it has counted, and where it runs."""

    def join(self, topic, payload):
        if payload.get("refuse"):
            return refuse("no")
        self.state = {"counted": 0, "last": 0, "wrong": [], "moves": 0, "told": 0}
        self.assign(name=payload.get("name", ""), pid=os.getpid())
        return {"pid": os.getpid()}

    @on("n")
    async def n(self, payload):
        if payload.get("seconds"):
            await asyncio.sleep(payload["seconds"])
        state = self.state
        if payload["n"] != state["last"] + 1:
            state["wrong"].append([state["last"], payload["n"]])
        state["last"] = payload["n"]
        state["counted"] += 1
        self.broadcast_from("counted", {"n": payload["n"], "name": self.assigns["name"]})
        return {**state, "pid": os.getpid(), "assigned": self.assigns["pid"]}

    @on("listen")
    async def listen(self, payload):
        await self.subscribe(payload["topic"])
        return {}

    @on("appear")
    def appear(self, payload):
        self.state["appeared"] = True
        presence.track(self, self.assigns["name"], {"status": "here"})
        self.push("presence_state", presence.list(self))
        return {}

    @on("spoil")
    def spoil(self, payload):
        self.state["spoilt"] = payload["how"]
        return {}

    def handle_info(self, message):
        assert isinstance(message, Broadcast)
        self.push("news", message.payload)

    def snapshot(self):
        if self.state.get("spoilt") == "stay":
            return None
        if self.state.get("spoilt") == "large":
            return {"large": "x" * 2_000_000}
        return {**self.state, "from": os.getpid()}

    async def restore(self, state):
        if state.get("spoilt") == "raise":
            raise RuntimeError("raised on request")
        assert state.pop("from") != os.getpid()
        self.state = state
        self.state["moves"] += 1
        if state.get("appeared"):
            self.push("presence_state", presence.list(self))
        self.push("restored", {"name": self.assigns["name"]})


class OutChannel(CountChannel):
    """Gets the numbers of a topic through `handle_out`, and passes them on numbered by itself."""

    intercept = ("number",)

    def handle_out(self, event, payload):
        self.state["told"] += 1
        self.push("number", {**payload, "told": self.state["told"]})


class StayChannel(Channel):
    """Does not move."""

    @on("where")
    def where(self, payload):
        return {"pid": os.getpid()}


class UserSocket(SocketHandler):
    channels = {"count:*": CountChannel, "out:*": OutChannel, "stay:*": StayChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket}, presences=[presence])
