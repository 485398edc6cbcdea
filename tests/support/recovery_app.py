"""Rooms whose broadcasts are kept, for clients that are cut off all the time."""

from mesh import Channel, Endpoint, History, SocketHandler, ok, on


class RoomChannel(Channel):
    history = History(messages=20_000, bytes=20_000_000, except_events=("typing",))

    @on("say")
    def say(self, payload):
        self.broadcast("n", payload)
        return ok({})


class AnywhereChannel(RoomChannel):
    """Its channels run on the worker of their client, regardless of which worker records the topic."""

    spread = "socket"


class OtherChannel(Channel):
    """Nothing of it is kept."""


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel, "anywhere:*": AnywhereChannel, "other:*": OtherChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
