"""The application that scripts/hostile.py runs."""

from mesh import Channel, Endpoint, RemoteChannel, SocketHandler, on


class RoomChannel(Channel):
    """The channel of bystanders and hostile clients."""

    @on("echo")
    def echo(self, payload):
        """Answer with the payload."""
        return payload

    @on("new_msg")
    def new_msg(self, payload):
        """Broadcast the payload."""
        self.broadcast("new_msg", payload)


class UserSocket(SocketHandler):
    """Accepts every client."""

    channels = {"room:*": RoomChannel, "remote:*": RemoteChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
