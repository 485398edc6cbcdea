"""Callbacks that raise SystemExit, or another exception that is not an Exception, when they are told to."""

import asyncio

from tornado.web import RequestHandler

from mesh import Channel, Endpoint, Presence, SocketHandler, on

RAISES = {"exit": SystemExit, "interrupt": KeyboardInterrupt, "base": BaseException}


class Room(Channel):
    """`room:WHERE-WHAT`: raises WHAT in the callback WHERE."""

    def raise_in(self, where):
        callback, _, what = self.topic.removeprefix("room:").partition("-")
        if callback == where:
            raise RAISES[what](7)

    def join(self, topic, payload):
        self.raise_in("join")

    def after_join(self, payload):
        self.raise_in("after_join")
        self.send("info")
        if self.topic.startswith("room:fetch"):
            people.track(self, "key")

    @on("echo")
    async def echo(self, payload):
        await asyncio.sleep(0)
        self.raise_in("event")
        return payload

    def handle_info(self, message):
        self.raise_in("handle_info")

    def terminate(self, reason):
        self.raise_in("terminate")


class People(Presence):
    async def fetch(self, topic, presences):
        await asyncio.sleep(0)
        raise SystemExit


class UserSocket(SocketHandler):
    channels = {"room:*": Room}

    async def connect(self, params, info):
        if "early" in params:
            raise RAISES[params["early"]]
        await asyncio.sleep(0)
        if "late" in params:
            raise RAISES[params["late"]]


class ExitHandler(RequestHandler):
    async def get(self):
        await asyncio.sleep(0)
        raise SystemExit


people = People()


async def background():
    await asyncio.sleep(0)
    raise SystemExit


endpoint = Endpoint(
    sockets={"/socket": UserSocket},
    http=[(r"/exit", ExitHandler)],
    presences=[people],
    background=[background],
)
