"""The application that scripts/chaos.py runs."""

from mesh import Channel, Endpoint, SocketHandler, ok, on


class RoomChannel(Channel):
    """Broadcasts the client's numbers, and acknowledges them."""

    @on("say")
    def say(self, payload):
        """Broadcast, then reply: the reply shows the client that the broadcast has been sent."""
        self.broadcast("n", payload)
        return ok({})


class UserSocket(SocketHandler):
    """Accepts every client."""

    channels = {"room:*": RoomChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
