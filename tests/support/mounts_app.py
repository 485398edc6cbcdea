"""Sockets mounted with every option; `me` on `info:*` says what `connect` was told."""

import json

from tornado.web import RequestHandler

from mesh import Channel, Endpoint, Mount, SessionCookie, SocketHandler, on, refuse, session_cookies
from mesh.errors import TokenError

SECRET = "the secret of the web application"


class InfoChannel(Channel):
    @on("me")
    def me(self, payload):
        return self.assigns


class AnySocket(SocketHandler):
    channels = {"info:*": InfoChannel}

    def connect(self, params, info):
        self.assigns.update(
            params=params,
            transport=info.transport,
            peer=list(info.peer),
            uri=info.uri,
            user_agent=info.user_agent,
            x_headers=dict(info.x_headers),
            trace_context=dict(info.trace_context),
            sec_websocket_headers=dict(info.sec_websocket_headers),
            auth_token=info.auth_token,
            session=info.session and dict(info.session),
            extra=dict(info.extra),
        )


class TokenSocket(SocketHandler):
    """Only with a token that `/token` handed out."""

    channels = {"info:*": InfoChannel}

    def connect(self, params, info):
        try:
            self.assigns["user"] = endpoint.verify("user socket", info.auth_token)
        except TokenError as error:
            return refuse(str(error))

    def id(self):
        return f"users:{self.assigns['user']}"


class TokenHandler(RequestHandler):
    def get(self):
        self.finish(endpoint.sign("user socket", self.get_query_argument("user")))


endpoint = Endpoint(
    sockets={
        "/any": Mount(AnySocket, longpoll=True, connect_info={"region": "eu"}),
        "/auth": Mount(AnySocket, longpoll=True, auth_token=True),
        "/token": Mount(TokenSocket, longpoll=True, auth_token=True),
        "/sub": Mount(AnySocket, subprotocols=["chat.v2", "chat.v1"]),
        "/starlette": Mount(
            AnySocket, longpoll=True, session=SessionCookie("session", session_cookies.starlette(SECRET))
        ),
        "/flask": Mount(
            AnySocket,
            session=SessionCookie("session", session_cookies.flask(SECRET), csrf_key="csrf_token"),
        ),
        "/json": Mount(AnySocket, longpoll=True, session=SessionCookie("session", json.loads)),
        "/tenants/:tenant": Mount(AnySocket, longpoll=True),
        "/conn": Mount(AnySocket, longpoll=True, check_origin="conn"),
        "/open": Mount(AnySocket, websocket=False, longpoll=True, check_origin=False),
    },
    http=[("/get_token", TokenHandler)],
)
