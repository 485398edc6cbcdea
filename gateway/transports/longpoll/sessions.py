"""The long-poll sessions of a gateway: what stands in for a connection between two requests.

A session holds what was sent to its client until the next poll takes it. It ends when nobody polls for
one and a half windows. Source: Phoenix.Transports.LongPoll.Server.
"""

import asyncio
import secrets
from typing import Any

import msgspec

from gateway.backlog import Backlog, lost
from gateway.client import Client
from gateway.hub import Hub
from gateway.ledger import CLIENT_GONE, SLOW_CLIENT
from gateway.transports.base import Encoding
from gateway.transports.idle_timer import IdleTimer
from gateway.unsent import Mark
from mesh.errors import CloseCode, EncodeError
from mesh.serializers.base import Frame, Serializer
from mesh.serializers.registry import SERIALIZERS
from mesh.settings import GatewaySettings, LongPollSettings
from mesh.telemetry import counters, get_logger

log = get_logger("gateway.longpoll")

_encode_string = msgspec.json.Encoder().encode

SILENT_WINDOWS = 1.5


class TextOnly:
    """A serializer for long-poll, which cannot carry binary frames down to the client."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self.name = serializer.name
        self.carries_binary = False
        self.decode = serializer.decode
        self.encode_end = serializer.encode_end

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """A `phx_reply`."""
        return _text(self._serializer.encode_reply(join_ref, ref, topic, status, codec, data))

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """A push of the server to one channel."""
        return _text(self._serializer.encode_push(join_ref, topic, event, codec, data))

    def encode_broadcast(self, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """A broadcast, the same bytes for every receiver."""
        return _text(self._serializer.encode_broadcast(topic, event, codec, data))


def _text(frame: Frame) -> Frame:
    if frame.binary:
        raise EncodeError("long-poll cannot carry bytes to a client")
    if not frame.data.isascii():
        try:
            str(frame.data, "utf-8")
        except UnicodeDecodeError as error:  # of a program on the bus: nothing decodes its payloads
            raise EncodeError(f"the payload is not UTF-8: {error}") from None
    return frame


def _ready(frame: Frame) -> bytes:
    """Each message is a JSON string in the answer to a poll."""
    return _encode_string(frame.data.decode())


ENCODINGS: dict[Serializer, Encoding] = {
    each: Encoding(TextOnly(each), _ready) for each in SERIALIZERS.values()
}


class LongPollSession:
    """One client. Implements Transport, and the outbox.

    Attributes:
        id: unguessable; its token names it.
        client: the hub's.
        heard: event-loop time of the last poll; infinite while one waits.
        over: whether it has ended.
    """

    __slots__ = (
        "_backlog", "_loop", "_resumed", "_sessions", "_waiting", "_waking",
        "client", "heard", "id", "mark", "over",
    )  # fmt: skip

    name = "longpoll"

    def __init__(self, sessions: "LongPollSessions") -> None:
        self.id = secrets.token_urlsafe(16)
        self.client: Client
        self.over = False
        self.mark: Mark | None = None
        self._sessions = sessions
        self._loop = asyncio.get_running_loop()
        self.heard = self._loop.time()
        self._backlog: Backlog[bytes] = Backlog()
        self._waiting: asyncio.Future[bool] | None = None
        self._waking = False
        self._resumed: asyncio.Future[None] | None = None

    # Requests

    async def poll(self) -> list[bytes] | None:
        """The messages there are, after a window at most; None if the session is over.

        A poll that comes while another waits takes its place; that one gets no messages.
        """
        self._wake(superseded=True)
        self.heard = float("inf")
        waiting: asyncio.Future[bool] | None = None
        try:
            if not self._backlog and not self.over:
                waiting = self._waiting = self._loop.create_future()
                await asyncio.wait([waiting], timeout=self._sessions.longpoll.window_seconds)
                if waiting.done() and waiting.result():
                    return []
            return self._take()
        finally:
            if self._waiting is waiting:
                self._waiting = None
                self.heard = self._loop.time()

    def give_up_poll(self) -> None:
        """Who polled is gone: what comes waits for the next poll."""
        self._wake(superseded=True)

    def give_back(self, messages: list[bytes]) -> None:
        """What an earlier poll took reached nobody: it comes first in the next one."""
        plain = [bytes(message) for message in messages]
        self._backlog.put_back([(message, message) for message in plain])
        self._wake()

    async def post(self, messages: list[tuple[bytes, bool]]) -> int:
        """Messages of the client, in order; returns the status to answer."""
        window = self._sessions.longpoll.window_seconds
        for number, (data, binary) in enumerate(messages):
            if self._resumed is not None:
                await asyncio.wait([self._resumed], timeout=window)
                if self._resumed is not None:  # as in Phoenix the rest is dropped
                    counters.count("longpoll_lines_dropped", len(messages) - number)
                    log.warning("long-poll messages dropped", socket_id=self.client.id, seconds=window)
                    return 408
            if self.over:
                return 410
            if len(data) > self._sessions.gateway.max_frame_bytes:
                counters.count("frames_malformed")
                self._end(f"a message of {len(data)} bytes (gateway.max_frame_bytes)")
                return 408
            self._sessions.hub.received(self.client, data, binary)
        # Phoenix says 408, after a window, when a message ended the session.
        return 408 if self.over else 200

    # Outbox

    @property
    def unsent_bytes(self) -> int:
        """What no poll has taken."""
        return self._backlog.size

    def send(self, message: bytes) -> None:
        """Keep a message for the next poll, or answer the one that waits."""
        if self.over:
            lost(message, CLIENT_GONE)
            return
        backlog, limit = self._backlog, self._sessions.gateway.max_unsent_bytes
        backlog.add(message, message, behind=self._waiting is None)
        if backlog.size > limit and not backlog.trim(limit):
            self.close_slow(backlog.size)
            return
        if self.mark is not None:
            self.mark.look(backlog.size)
        if self._waiting is not None and not self._waking:
            self._waking = True
            self._loop.call_soon(self._wake)

    # Transport

    def close(self, code: int, reason: str) -> None:
        """The session is over; a poll still gets what was sent before, the next one 410."""
        del code, reason
        self.over = True
        self._wake()
        self.resume()
        self._sessions.ended(self, keep=bool(self._backlog))

    def close_slow(self, unsent: int) -> None:
        """The client does not poll."""
        self._loop.call_soon(self._close_slow, unsent)

    def pause(self) -> None:
        """Answer no post until `resume`."""
        if self._resumed is None:
            self._resumed = self._loop.create_future()

    def resume(self) -> None:
        """Go on."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.done():
            resumed.set_result(None)

    def _take(self) -> list[bytes] | None:
        backlog = self._backlog
        if backlog.dropped:
            log.warning("a slow client missed broadcasts", socket_id=self.client.id, **backlog.dropped)
            backlog.dropped.clear()
        if self.mark is not None:
            self.mark.look(0)
        if backlog or not self.over:
            return [backlog.pop() for _ in range(len(backlog))]
        self._sessions.ended(self, keep=False)
        return None

    def _wake(self, superseded: bool = False) -> None:
        self._waking = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(superseded)

    def _close_slow(self, unsent: int) -> None:
        if not self.over:
            counters.count("slow_clients_closed")
            self.discard(SLOW_CLIENT)
            self._end(f"{unsent} bytes wait for a client that does not poll (gateway.max_unsent_bytes)")

    def discard(self, reason: str = CLIENT_GONE) -> None:
        """Nobody will poll for what is here."""
        self._backlog.clear(reason)

    def _end(self, reason: str) -> None:
        log.warning("long-poll session ended", socket_id=self.client.id, reason=reason)
        self.discard()
        self.close(CloseCode.INTERNAL_ERROR, reason)
        self._sessions.hub.disconnected(self.client, "closed")


class LongPollSessions:
    """All long-poll sessions that this gateway holds."""

    def __init__(self, hub: Hub, gateway: GatewaySettings, longpoll: LongPollSettings) -> None:
        self.hub = hub
        self.gateway = gateway
        self.longpoll = longpoll
        self._sessions: dict[str, LongPollSession] = {}
        self._idle_timer = IdleTimer(min(1.0, longpoll.window_seconds / 10), self._expire)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def full(self) -> bool:
        """Whether another session would be too many."""
        return len(self._sessions) >= self.longpoll.max_sessions

    def get(self, session_id: str) -> LongPollSession | None:
        """The session of that id, if it is here and lives."""
        return self._sessions.get(session_id)

    def add(self, session: LongPollSession) -> None:
        """Take in a session."""
        self._sessions[session.id] = session

    def ended(self, session: LongPollSession, keep: bool) -> None:
        """A session is over; `keep` it for the poll that takes its last messages."""
        if not keep:
            self._sessions.pop(session.id, None)

    def living(self) -> list[LongPollSession]:
        """The sessions that are not over."""
        return [each for each in self._sessions.values() if not each.over]

    def close(self) -> None:
        """Forget all."""
        self._idle_timer.cancel()
        for session in self._sessions.values():
            session.discard()
        self._sessions.clear()

    def _expire(self, now: float) -> None:
        oldest = now - SILENT_WINDOWS * self.longpoll.window_seconds
        for session in [each for each in self._sessions.values() if each.heard < oldest]:
            del self._sessions[session.id]
            session.discard()
            if not session.over:
                session.over = True
                session.resume()
                self.hub.disconnected(session.client, "inactive")
