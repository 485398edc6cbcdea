"""One route for workers in other languages, one for Python."""

from mesh import Channel, Endpoint, RemoteChannel, SocketHandler, on


class PythonChannel(Channel):
    @on("echo")
    def echo(self, payload):
        return payload


class UserSocket(SocketHandler):
    channels = {"node:*": RemoteChannel, "python:*": PythonChannel}

    def connect(self, params, info):
        self.assigns["user"] = params.get("user")


endpoint = Endpoint({"/socket": UserSocket})
