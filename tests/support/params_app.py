"""Says which parameters a socket was opened with."""

from mesh import Channel, Endpoint, SocketHandler, ok, on


class AppChannel(Channel):
    @on("params")
    def params(self, payload):
        return ok(self.assigns["params"])


class UserSocket(SocketHandler):
    channels = {"app:*": AppChannel}

    def connect(self, params, info):
        self.assigns["params"] = dict(params)


endpoint = Endpoint(sockets={"/socket": UserSocket})
