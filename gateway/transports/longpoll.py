"""Long-poll: `<mount>/longpoll`, for clients that no WebSocket reaches.

The HTTP status is 200 for whatever was understood; the real one stands in the JSON body. A request may come
to any gateway: the token names the one that holds the session, and it is asked over the bus.
Source: Phoenix.Transports.LongPoll.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, cast

from tornado.web import stream_request_body

from gateway.client import Client
from gateway.http.bodies import Bodies
from gateway.http.body_handler import BodyHandler
from gateway.hub import Hub
from gateway.transports import longpoll_calls
from gateway.transports.admission import Admitted, RefusedError
from gateway.transports.handshake import Handshake, undecoded
from gateway.transports.longpoll_calls import CANCEL, POLL, POST, UNREAD, encode
from gateway.transports.longpoll_messages import messages_of
from gateway.transports.longpoll_sessions import ENCODINGS, LongPollSession, LongPollSessions
from mesh import tokens
from mesh.bus.calls import Calls
from mesh.errors import TokenError, WireError
from mesh.mount import Mount
from mesh.settings import LongPollSettings
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger("gateway.longpoll")
_complaints = Complaints(log, "question about a session dropped")

SALT = "longpoll"


class LongPoll:
    """Finds sessions, here or on another gateway.

    Args:
        sessions: those that this gateway holds.
        calls: to the other gateways.
        gateway: this gateway's id.
        secret: signs tokens, the same on all gateways.

    Attributes:
        draining: this gateway stops, and begins no new session.
    """

    def __init__(self, sessions: LongPollSessions, calls: Calls, gateway: str, secret: str) -> None:
        self.sessions = sessions
        self.draining = False
        self._calls = calls
        self._gateway = gateway
        self._secret = secret
        calls.answers[POLL] = self._answer_poll
        calls.answers[CANCEL] = self._answer_cancel
        calls.answers[UNREAD] = self._answer_unread
        calls.answers[POST] = self._answer_post

    def close(self) -> None:
        """All sessions are over."""
        self.sessions.close()

    @property
    def hub(self) -> Hub:
        """Of this gateway."""
        return self.sessions.hub

    @property
    def settings(self) -> LongPollSettings:
        """Of long-poll."""
        return self.sessions.longpoll

    def open(self, admitted: Admitted, mount: Mount) -> str:
        """A new session; returns its token."""
        session = LongPollSession(self.sessions)
        encoding = ENCODINGS[admitted.serializer]
        session.client = Client(
            mount.path, admitted.socket_id, admitted.assigns, encoding, session, session
        )
        self.sessions.add(session)
        self.hub.connect(session.client, mount)
        return tokens.sign(
            self._secret,
            SALT,
            [self._gateway, session.id, mount.path],
            max_age_seconds=self.settings.token_max_age_seconds,
        )

    def find(self, token: object, mount: Mount) -> tuple[str, str] | None:
        """(gateway, session id) that a token names, if it is one of ours for this mount."""
        try:
            gateway, session_id, path = tokens.verify(self._secret, SALT, token)
        except TokenError:
            return None
        return (gateway, session_id) if path == mount.path else None

    async def poll(self, gateway: str, session_id: str) -> list[bytes] | None:
        """The messages for a client; None if its session is over."""
        if gateway == self._gateway:
            session = self.sessions.get(session_id)
            return await session.poll() if session is not None else None
        limit = self.settings.window_seconds + self.settings.relay_timeout_seconds
        call = asyncio.ensure_future(self._calls.call(gateway, POLL, session_id.encode(), limit))
        try:
            return longpoll_calls.decode_polled(await asyncio.shield(call))
        except (TimeoutError, WireError):
            return None
        except asyncio.CancelledError:
            self._calls.tell(gateway, CANCEL, session_id.encode())
            call.add_done_callback(lambda answered: self._crossed(gateway, session_id, answered))
            raise

    def _crossed(self, gateway: str, session_id: str, answered: "asyncio.Future[bytes]") -> None:
        """The answer crossed the cancellation: its messages must wait for the next poll."""
        if answered.cancelled() or answered.exception() is not None:
            return
        try:
            messages = longpoll_calls.decode_polled(answered.result())
        except WireError:
            return  # no messages that could be given back
        if messages:
            self.give_back(gateway, session_id, messages)

    def give_back(self, gateway: str, session_id: str, messages: list[bytes]) -> None:
        """Messages that a poll took reached nobody: they must wait for the next poll."""
        if gateway != self._gateway:
            self._calls.tell(gateway, UNREAD, encode((session_id, list(map(bytes, messages)))))
            return
        session = self.sessions.get(session_id)
        if session is not None:
            session.give_back(messages)

    async def post(self, gateway: str, session_id: str, messages: list[tuple[bytes, bool]]) -> int:
        """Hand over a client's messages; returns the status to answer."""
        if gateway == self._gateway:
            session = self.sessions.get(session_id)
            return await session.post(messages) if session is not None else 410
        try:
            limit = self.settings.window_seconds + self.settings.relay_timeout_seconds
            data = encode((session_id, messages))
            return longpoll_calls.decode_status(await self._calls.call(gateway, POST, data, limit))
        except (TimeoutError, WireError):
            return 410

    # For other gateways

    async def _answer_poll(self, data: bytes) -> bytes:
        session = self.sessions.get(data.decode("utf-8", "replace"))
        messages = await session.poll() if session is not None else None
        return encode(None if messages is None else list(map(bytes, messages)))  # no BroadcastFrames

    async def _answer_cancel(self, data: bytes) -> bytes:
        session = self.sessions.get(data.decode("utf-8", "replace"))
        if session is not None:
            session.give_up_poll()
        return b""

    async def _answer_unread(self, data: bytes) -> bytes:
        try:
            session_id, messages = longpoll_calls.decode_unread(data)
        except WireError as error:
            _malformed(error)
            return b""
        session = self.sessions.get(session_id)
        if session is not None:
            session.give_back(messages)
        return b""

    async def _answer_post(self, data: bytes) -> bytes:
        try:
            session_id, messages = longpoll_calls.decode_post(data)
        except WireError as error:
            _malformed(error)
            return b"410"
        session = self.sessions.get(session_id)
        return b"%d" % (await session.post(messages) if session is not None else 410)


@stream_request_body
class LongPollHandler(BodyHandler):
    """One request. Its body is taken as it is, whatever its Content-Type: nothing parses it as a form."""

    def initialize(self, longpoll: LongPoll, handshake: Handshake, bodies: Bodies) -> None:
        """Tornado hands over what the application gave with the route."""
        self._bodies = bodies
        self._longpoll = longpoll
        self._handshake = handshake
        self._hung_up = False
        self._polling: asyncio.Task[list[bytes] | None] | None = None

    decode_argument = undecoded

    def set_default_headers(self) -> None:
        """As Phoenix's. The token, not the page's origin, is the authority: so any origin may read."""
        self.set_header("Access-Control-Allow-Origin", "*")
        self.set_header("Cache-Control", "no-store")

    def prepare(self) -> None:
        """Whatever a page of another site asks, also before its real request."""
        try:
            self._handshake.check_origin(self.request)
        except RefusedError as refused:
            return self._refuse(refused)
        if self.request.method == "POST":
            self.begin_body(self._bodies)

    def options(self, **_path_params: str) -> None:
        """The pre-flight request of a page of another origin."""
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
        """The client hung up: its messages must wait for the next poll."""
        super().on_connection_close()
        self._hung_up = True
        if self._polling is not None:
            self._polling.cancel()

    async def get(self, **_path_params: str) -> None:
        """Poll, or begin a session."""
        await self._carry_out(self._get())

    async def post(self, **_path_params: str) -> None:
        """Messages of the client."""
        await self._carry_out(self._post())

    async def _carry_out(self, request: Coroutine[Any, Any, None]) -> None:
        try:
            await request
        except RefusedError as refused:
            self._refuse(refused)

    async def _get(self) -> None:
        place = self._find()
        if place is not None:
            token, gateway, session_id = place
            messages = await self._poll(gateway, session_id)
            if messages and self._hung_up:  # in the very moment in which they came
                return self._longpoll.give_back(gateway, session_id, messages)
            if messages is not None:
                return self._answer(200 if messages else 204, token, messages)
        await self._begin()

    async def _post(self) -> None:
        place = self._find()
        if place is None:
            return self._answer(410)
        _, gateway, session_id = place
        self.request.body = self.take_body()
        self._answer(await self._longpoll.post(gateway, session_id, messages_of(self.request)))

    def _find(self) -> tuple[str, str, str] | None:
        """(token, gateway, session id) of the session this request names."""
        params = self._handshake.params(self.request)
        token = self.request.headers.get("x-phoenix-longpoll-token") or params.get("token")
        found = self._longpoll.find(token, self._handshake.mount)
        return (cast(str, token), *found) if found is not None else None

    async def _poll(self, gateway: str, session_id: str) -> list[bytes] | None:
        self._polling = polling = asyncio.ensure_future(self._longpoll.poll(gateway, session_id))
        try:
            return await polling
        except asyncio.CancelledError:
            if polling.cancelled():  # nobody is there to be answered
                return []
            raise
        finally:
            self._polling = None

    async def _begin(self) -> None:
        admitted = await self._handshake.admit(self.request)
        if admitted.serializer not in ENCODINGS:
            log.warning("connection refused", reason="long-poll carries no binary frames: format=json")
            raise RefusedError(403)
        self._check_room()
        if admitted.socket_id is not None:
            socket_ids = self._longpoll.hub.socket_ids
            await socket_ids.subscribe(admitted.socket_id)
            try:
                self._check_room()  # others may have come meanwhile
            except RefusedError:
                socket_ids.unsubscribe(admitted.socket_id)
                raise
        self._answer(410, self._longpoll.open(admitted, self._handshake.mount))

    def _check_room(self) -> None:
        if self._longpoll.draining:
            self.set_header("Connection", "close")
            raise RefusedError(503)
        if self._longpoll.sessions.full:
            log.error("too many long-poll sessions", limit=self._longpoll.settings.max_sessions)
            raise RefusedError(503)

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


def _malformed(error: WireError) -> None:
    _complaints.about("unknown", "bus_messages_malformed", str(error))
