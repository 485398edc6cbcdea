"""A transport over server-sent events, as somebody else would add it: this file, and one line in a registry.

`GET <mount>/sse` is the stream of messages; its first event, `open`, has the URL to which the client POSTs
its own. Source: the WHATWG's HTML, §9.2.
"""

import secrets

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

from mesh.gateway.transports.admission import RefusedError
from mesh.gateway.transports.base import Encoding
from mesh.gateway.transports.client_connection import id_subscribed, idle_timer
from mesh.gateway.transports.client_phases import Phase
from mesh.gateway.transports.fetched_connection import FetchedConnection
from mesh.gateway.transports.handshake import handshakes, undecoded
from mesh.protocol.serializers.registry import SERIALIZERS
from mesh.protocol.serializers.text_only import TextOnly

PAUSE_SECONDS = 10.0
FETCH_SECONDS = 1.0


def event(frame):
    return b"data: " + frame.data.replace(b"\n", b"\ndata: ") + b"\n\n"


ENCODINGS = {each: Encoding(TextOnly(each), event) for each in SERIALIZERS.values()}


class ServerSentEvents:
    """Implements TransportServer."""

    name = "sse"
    address = ""
    shortcut = None

    def __init__(self, services):
        self.hub = services.hub
        self.settings = services.settings.gateway
        self.connections = {}
        self.draining = False
        self._handshakes = handshakes(services.endpoint, self.name, self.settings)
        self._idle = idle_timer(lambda: list(self.connections.values()), self.settings.idle_timeout_seconds)

    def routes(self):
        return [
            (each.path.pattern, EventsHandler, {"server": self, "handshake": each})
            for each in self._handshakes
        ]

    def answers(self):
        return {}

    def start(self): ...

    def stop_accepting(self):
        self.draining = True

    async def aclose(self, timeout_seconds):
        self._idle.cancel()

    async def connect(self, mount, admitted):
        if self.draining:
            raise RefusedError(503)
        async with id_subscribed(self.hub, admitted):
            connection = EventsConnection(self)
            self.connections[connection.token] = connection
            connection.admit(mount, admitted, ENCODINGS[admitted.serializer])
        return connection


class EventsConnection(FetchedConnection):
    """One client."""

    __slots__ = ("code", "stream", "token")

    name = "sse"

    def __init__(self, server):
        super().__init__(server)
        self.token = secrets.token_urlsafe(16)
        self.code = None
        self.stream = None

    def _send_close(self, code, reason):
        self.code = code
        super()._send_close(code, reason)

    def _release(self):
        super()._release()
        self._server.connections.pop(self.token, None)
        if self.stream is not None and self.code is None:  # nobody reads: no use in waiting for that
            self.stream.close()


class EventsHandler(RequestHandler):
    """`<mount>/sse`."""

    BODIES = ("POST",)

    def initialize(self, server, handshake):
        self._server = server
        self._handshake = handshake
        self._connection = None

    decode_argument = undecoded

    async def get(self, **_path_params):
        try:
            admitted = await self._handshake.admit(self.request)
            connection = await self._server.connect(self._handshake.mount, admitted)
        except RefusedError as refused:
            self.set_status(refused.status)
            return
        self._connection = connection
        connection.stream = self.request.connection.stream
        self.set_header("Content-Type", "text/event-stream")
        self.write(f"event: open\ndata: {self.request.path}?token={connection.token}\n\n")
        try:
            await self.flush()
            while (messages := await connection.fetch(FETCH_SECONDS)) is not None:
                if messages:
                    self.write(b"".join(messages))
                    await self.flush()
            self.write(f"event: close\ndata: {connection.code}\n\n")
        except StreamClosedError:
            connection.lost()

    async def post(self, **_path_params):
        connection = self._server.connections.get(self._handshake.params(self.request).get("token"))
        if connection is None or not await connection.wait_until_open(PAUSE_SECONDS):
            paused = connection is not None and connection.phase is Phase.PAUSED
            self.set_status(503 if paused else 404)
            return
        connection.deliver(self.request.body, False)
        self.set_status(204)

    def on_connection_close(self):
        super().on_connection_close()
        if self._connection is not None:
            self._connection.lost()
