"""An application with every kind of HTTP route: sockets, handlers of its own, static files."""

import os

from tornado.web import RequestHandler

from mesh import Channel, Endpoint, Mount, SocketHandler, on


class EchoChannel(Channel):
    @on("echo")
    def echo(self, payload):
        return payload


class UserSocket(SocketHandler):
    channels = {"room:*": EchoChannel}

    def connect(self, params, info):
        self.assigns.update(params=params, uri=info.uri)

    def id(self):
        return f"user:{self.assigns['params'].get('tenant', '')}"


class FormHandler(RequestHandler):
    """Says what it was sent."""

    def post(self):
        self.finish({"bytes": len(self.request.body), "fields": sorted(self.request.body_arguments)})


class SlashHandler(RequestHandler):
    def get(self):
        self.finish(self.request.uri)


static = os.environ.get("HTTP_APP_STATIC")
endpoint = Endpoint(
    sockets={
        "/socket": Mount(UserSocket, longpoll=True),
        "/tenants/:tenant/socket": Mount(UserSocket, longpoll=True),
    },
    http=[(r"/form", FormHandler), (r"/own/", SlashHandler)],
    static={"/": static, "/assets": static} if static else {},
)
