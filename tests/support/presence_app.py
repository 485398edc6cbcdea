"""An application whose topics are spread over all workers, so that presence must be replicated."""

import asyncio
import os

from mesh import Channel, Endpoint, Presence, SocketHandler, on


class FetchedPresence(Presence):
    """Adds to each key, the slower the earlier it is asked; remembers what it was told."""

    def __init__(self):
        super().__init__("fetched")
        self.asked = 0
        self.told = []

    async def fetch(self, topic, presences):
        self.asked += 1
        await asyncio.sleep(0.03 / self.asked)
        if topic == "fetched:broken":
            raise RuntimeError("raised on request")
        return {key: {**each, "name": key.upper()} for key, each in presences.items()}

    def handle_metas(self, topic, diff, presences):
        self.told.append([sorted(diff["joins"]), sorted(diff["leaves"]), sorted(presences)])


people = Presence()
fetched = FetchedPresence()


class HereChannel(Channel):
    """`join {"as": key, …meta}`; several keys by `track`."""

    spread = "socket"

    def join(self, topic, payload):
        return {"pid": os.getpid()}

    def after_join(self, payload):
        if "as" in payload:
            people.track(self, payload["as"], {"n": payload.get("n", 0)})
        self.push("presence_state", people.list(self))

    @on("track")
    def track(self, payload):
        return {"ref": people.track(self, payload["key"], payload["meta"])}

    @on("update")
    def update(self, payload):
        return {"ref": people.update(self, payload["key"], lambda old: {"n": old["n"] + payload["by"]})}

    @on("untrack")
    def untrack(self, payload):
        people.untrack(self, payload.get("key"))
        return {}

    @on("list")
    def list_all(self, payload):
        return people.list(self)

    @on("get")
    def get(self, payload):
        return {"got": people.get_by_key(self, payload["key"])}


class InterceptingChannel(HereChannel):
    """Makes something of its own out of each diff."""

    intercept = ("presence_diff",)

    def handle_out(self, event, payload):
        self.push("people_changed", {"joined": sorted(payload["joins"]), "left": sorted(payload["leaves"])})


class FetchedChannel(Channel):
    spread = "socket"

    async def after_join(self, payload):
        fetched.track(self, payload["as"])
        if not payload.get("quiet"):
            self.push("presence_state", await fetched.list(self))

    @on("told")
    def told(self, payload):
        return {"told": fetched.told}

    @on("get")
    async def get(self, payload):
        return {"got": await fetched.get_by_key(self, payload["key"])}


class UserSocket(SocketHandler):
    channels = {"here:*": HereChannel, "intercepted:*": InterceptingChannel, "fetched:*": FetchedChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket}, presences=[people, fetched])
