"""The HTTP requests of long-poll clients: `<mount>/longpoll`.

Requests that are understood get HTTP status 200; the actual status is in the JSON body.
Source: Phoenix.Transports.LongPoll.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, cast

from tornado.web import stream_request_body

from mesh.app.mount import Mount
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.body_handler import BodyHandler
from mesh.gateway.transports.admission import Admitted, RefusedError
from mesh.gateway.transports.handshake import Handshake, undecoded
from mesh.gateway.transports.longpoll.messages import messages_of
from mesh.gateway.transports.longpoll.relay import SessionRelay
from mesh.telemetry import counters


class LongPollRequests(Protocol):
    """What a request needs from the gateway's long-poll transport."""

    relay: SessionRelay
    draining: bool

    async def open(self, mount: Mount, admitted: Admitted) -> str:
        """Begin a session; return its token. Raises RefusedError."""


@stream_request_body
class LongPollHandler(BodyHandler):
    """Handles one request. The body is read as it is and never parsed as a form, whatever its type."""

    def initialize(self, longpoll: LongPollRequests, handshake: Handshake, bodies: Bodies) -> None:
        """Called by Tornado with the arguments of the route."""
        self._bodies = bodies
        self._longpoll = longpoll
        self._handshake = handshake
        self._client_gone = False
        self._polling: asyncio.Task[list[bytes] | None] | None = None

    decode_argument = undecoded

    def set_default_headers(self) -> None:
        """Set Phoenix's headers. Any origin may read, because the token, not the origin, authorizes."""
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Check the origin of every request, preflight requests included, and begin a POST's body."""
        try:
            self._handshake.check_origin(self.request)
        except RefusedError as refused:
            return self._refuse(refused)
        if self.request.method == "POST":
            self.begin_body(self._bodies)

    def options(self, **_path_params: str) -> None:
        """Answer the preflight request of a page of another origin."""
        requested = self.request.headers.get("access-control-request-headers", "")
        self.set_header("Access-Control-Allow-Headers", requested)
        self.set_header("Access-Control-Allow-Methods", "get, post, options")
        self.set_header("Access-Control-Max-Age", "3600")
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish()

    async def _bad_request(self, **_path_params: str) -> None:
        self.set_status(400)
        self.finish()

    put = patch = delete = head = _bad_request

    def on_connection_close(self) -> None:
        """The client disconnected: its messages must wait for the next poll."""
        super().on_connection_close()
        self._client_gone = True
        if self._polling is not None:
            self._polling.cancel()

    async def get(self, **_path_params: str) -> None:
        """Poll, or begin a session."""
        await self._carry_out(self._get())

    async def post(self, **_path_params: str) -> None:
        """Deliver messages of the client."""
        await self._carry_out(self._post())

    async def _carry_out(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            await request
        except RefusedError as refused:
            self._refuse(refused)

    async def _get(self) -> None:
        located = self._find()
        if located is not None:
            token, gateway, session_id = located
            messages = await self._poll(gateway, session_id)
            if messages and self._client_gone:  # the client disconnected just as they arrived
                return self._longpoll.relay.give_back(gateway, session_id, messages)
            if messages is not None:
                return self._answer(200 if messages else 204, token, messages)
        await self._open_session()

    async def _post(self) -> None:
        located = self._find()
        if located is None:
            return self._answer(410)
        _, gateway, session_id = located
        self.request.body = self.take_body()
        self._answer(await self._longpoll.relay.post(gateway, session_id, messages_of(self.request)))

    def _find(self) -> tuple[str, str, str] | None:
        """Return (token, gateway, session id) of the session that this request names, or None."""
        params = self._handshake.params(self.request)
        token = self.request.headers.get("x-phoenix-longpoll-token") or params.get("token")
        found = self._longpoll.relay.find(token, self._handshake.mount)
        return (cast(str, token), *found) if found is not None else None

    async def _poll(self, gateway: str, session_id: str) -> list[bytes] | None:
        self._polling = polling = asyncio.ensure_future(self._longpoll.relay.poll(gateway, session_id))
        try:
            return await polling
        except asyncio.CancelledError:
            if polling.cancelled():  # the client is gone
                return []
            raise
        finally:
            self._polling = None

    async def _open_session(self) -> None:
        admitted = await self._handshake.admit(self.request)
        try:
            token = await self._longpoll.open(self._handshake.mount, admitted)
        except RefusedError:
            if self._longpoll.draining:
                self.set_header("Connection", "close")
            raise
        self._answer(410, token)

    def _refuse(self, refused: RefusedError) -> None:
        counters.count("connections_refused")
        if refused.status == 403:
            return self._answer(403)
        if refused.status == 503:
            return self._answer(500)  # any other status in the body breaks phoenix.js
        self.set_status(refused.status)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(refused.sentence)

    def _answer(self, status: int, token: str | None = None, messages: list[bytes] | None = None) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        if token is None:
            self.finish(b'{"status":%d}' % status)
        else:  # our tokens need no escaping
            listed = b",".join(messages or ())
            self.finish(b'{"status":%d,"token":"%b","messages":[%b]}' % (status, token.encode(), listed))
