"""Rooms with a history: what a client says is kept, and goes to everybody."""

from mesh import Channel, Endpoint, History, SocketHandler, ok, on


class RoomChannel(Channel):
    history = History(messages=1_000, except_events=("typing",))

    @on("say")
    def say(self, payload):
        self.broadcast("msg", payload)
        return ok({})


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
