"""The application that scripts/chaos.py runs."""

from mesh import Channel, Endpoint, History, SocketHandler, ok, on


class RoomChannel(Channel):
    """Broadcasts the client's numbers, and acknowledges them."""

    @on("say")
    def say(self, payload):
        """Broadcast, then reply: the reply shows the client that the broadcast has been sent."""
        self.broadcast("n", payload)
        return ok({})


class KeptChannel(RoomChannel):
    """Clients recover what they miss of it; more is kept than a run publishes."""

    history = History(messages=100_000, seconds=100_000, bytes=50_000_000)


class UserSocket(SocketHandler):
    """Accepts every client."""

    channels = {"room:*": RoomChannel, "kept:*": KeptChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
