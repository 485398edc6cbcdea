"""The application under scripts/chaos.py."""

from mesh import Channel, Endpoint, SocketHandler, ok, on


class RoomChannel(Channel):
    """Broadcasts what it is told, and acknowledges it."""

    @on("say")
    def say(self, payload):
        """Broadcast, then answer: who has the answer knows that the broadcast is on its way."""
        self.broadcast("n", payload)
        return ok({})


class UserSocket(SocketHandler):
    """Anybody."""

    channels = {"room:*": RoomChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
