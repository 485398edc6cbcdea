"""Passes requests to long-poll sessions on this gateway, or over the bus to the gateway that holds them.

A request may reach any gateway; its token names the gateway that holds the session. The calls between
gateways are in calls.py. A poll whose client disconnects must not lose messages: those that cross the
cancellation are given back, and come first in the next poll.
"""

import asyncio
from collections.abc import Mapping

from mesh.app import tokens
from mesh.app.mount import Mount
from mesh.bus.calls import CallHandler, Calls
from mesh.errors import TokenError, WireError
from mesh.gateway.transports.longpoll import calls as questions
from mesh.gateway.transports.longpoll.calls import CANCEL, POLL, POST, UNREAD, encode
from mesh.gateway.transports.longpoll.sessions import LongPollSessions
from mesh.telemetry import Complaints, get_logger

log = get_logger(__name__)
_complaints = Complaints(log, "question about a session dropped")

SALT = "longpoll"


class SessionRelay:
    """Finds sessions, here or on another gateway.

    Args:
        sessions: the sessions that this gateway holds.
        calls: makes calls to the other gateways.
        gateway: this gateway's id.
        secret: signs tokens; the same on all gateways.

    Attributes:
        answers: what answers the calls of other gateways, by name.
    """

    def __init__(self, sessions: LongPollSessions, calls: Calls, gateway: str, secret: str) -> None:
        self._sessions = sessions
        self._calls = calls
        self._gateway = gateway
        self._secret = secret
        longpoll = sessions.longpoll
        self._answer_seconds = longpoll.window_seconds + longpoll.relay_timeout_seconds
        self.answers: Mapping[str, CallHandler] = {
            POLL: self._answer_poll,
            CANCEL: self._answer_cancel,
            UNREAD: self._answer_unread,
            POST: self._answer_post,
        }

    def token(self, session_id: str, mount: Mount) -> str:
        """Return the token by which a client names a session of this gateway."""
        return tokens.sign(
            self._secret,
            SALT,
            [self._gateway, session_id, mount.path],
            max_age_seconds=self._sessions.longpoll.token_max_age_seconds,
        )

    def find(self, token: object, mount: Mount) -> tuple[str, str] | None:
        """Return the (gateway, session id) of a token, or None if it is not valid for this mount."""
        try:
            gateway, session_id, path = tokens.verify(self._secret, SALT, token)
        except TokenError:
            return None
        return (gateway, session_id) if path == mount.path else None

    async def poll(self, gateway: str, session_id: str) -> list[bytes] | None:
        """Return the messages for a client; None if its session has ended."""
        if gateway == self._gateway:
            session = self._sessions.get(session_id)
            return await session.poll() if session is not None else None
        asked = self._calls.call(gateway, POLL, session_id.encode(), self._answer_seconds)
        call = asyncio.ensure_future(asked)
        try:
            return questions.decode_polled(await asyncio.shield(call))
        except (TimeoutError, WireError):
            return None
        except asyncio.CancelledError:
            self._calls.cast(gateway, CANCEL, session_id.encode())
            call.add_done_callback(
                lambda answered: self._give_back_late_answer(gateway, session_id, answered)
            )
            raise

    def _give_back_late_answer(
        self, gateway: str, session_id: str, answered: "asyncio.Future[bytes]"
    ) -> None:
        """Give back the messages of an answer that crossed the cancellation."""
        if answered.cancelled() or answered.exception() is not None:
            return
        try:
            messages = questions.decode_polled(answered.result())
        except WireError:
            return  # there are no messages to give back
        if messages:
            self.give_back(gateway, session_id, messages)

    def give_back(self, gateway: str, session_id: str, messages: list[bytes]) -> None:
        """Put back messages that a poll took but did not deliver; they wait for the next poll."""
        if gateway != self._gateway:
            self._calls.cast(gateway, UNREAD, encode((session_id, list(map(bytes, messages)))))
            return
        session = self._sessions.get(session_id)
        if session is not None:
            session.give_back(messages)

    async def post(self, gateway: str, session_id: str, messages: list[tuple[bytes, bool]]) -> int:
        """Deliver a client's messages; return the status to answer with."""
        if gateway == self._gateway:
            session = self._sessions.get(session_id)
            return await session.post(messages) if session is not None else 410
        try:
            data = encode((session_id, messages))
            answer = await self._calls.call(gateway, POST, data, self._answer_seconds)
            return questions.decode_status(answer)
        except (TimeoutError, WireError):
            return 410

    # Calls from other gateways

    async def _answer_poll(self, data: bytes) -> bytes:
        messages = await self.poll(self._gateway, data.decode("utf-8", "replace"))
        return encode(None if messages is None else list(map(bytes, messages)))  # plain bytes

    async def _answer_cancel(self, data: bytes) -> bytes:
        session = self._sessions.get(data.decode("utf-8", "replace"))
        if session is not None:
            session.cancel_fetch()
        return b""

    async def _answer_unread(self, data: bytes) -> bytes:
        try:
            session_id, messages = questions.decode_unread(data)
        except WireError as error:
            _malformed(error)
            return b""
        self.give_back(self._gateway, session_id, messages)
        return b""

    async def _answer_post(self, data: bytes) -> bytes:
        try:
            session_id, messages = questions.decode_post(data)
        except WireError as error:
            _malformed(error)
            return b"410"
        return b"%d" % await self.post(self._gateway, session_id, messages)


def _malformed(error: WireError) -> None:
    _complaints.about("unknown", "bus_messages_malformed", str(error))
