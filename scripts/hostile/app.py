"""The application under scripts/hostile.py."""

from mesh import Channel, Endpoint, RemoteChannel, SocketHandler, on


class RoomChannel(Channel):
    """Where bystanders are, and where hostile clients join."""

    @on("echo")
    def echo(self, payload):
        """Answer with the payload."""
        return payload

    @on("new_msg")
    def new_msg(self, payload):
        """Tell everybody."""
        self.broadcast("new_msg", payload)


class UserSocket(SocketHandler):
    """Anybody."""

    channels = {"room:*": RoomChannel, "remote:*": RemoteChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
