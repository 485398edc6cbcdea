"""One long-poll session: a client's connection, across its requests.

It keeps what was sent to its client until the next poll, and ends when there has been no poll for one and a
half windows. Source: Phoenix.Transports.LongPoll.Server.
"""

import secrets
from typing import Protocol

from mesh.errors import CloseCode
from mesh.gateway.fanout.delivery_stats import CLIENT_GONE
from mesh.gateway.hub import Hub
from mesh.gateway.transports.client_phases import Event, Phase
from mesh.gateway.transports.fetched_connection import FetchedConnection
from mesh.settings import GatewaySettings, LongPollSettings
from mesh.telemetry import counters, get_logger

log = get_logger(__name__)


class SessionOwner(Protocol):
    """What a session needs from the gateway's sessions."""

    hub: Hub
    settings: GatewaySettings
    longpoll: LongPollSettings

    def remove(self, session: "LongPollSession") -> None:
        """Remove a session that has ended and in which nothing waits."""


class LongPollSession(FetchedConnection):
    """One client.

    Attributes:
        id: its id, which cannot be guessed and is part of its token.
    """

    __slots__ = ("id",)

    name = "longpoll"
    slow_reason = "the client does not poll"
    _server: SessionOwner

    def __init__(self, sessions: SessionOwner) -> None:
        super().__init__(sessions)
        self.id = secrets.token_urlsafe(16)

    async def poll(self) -> list[bytes] | None:
        """Return the waiting messages, within one window; None if the session has ended.

        A poll replaces an earlier one that still waits, which then returns no messages.
        """
        return await self.fetch(self._server.longpoll.window_seconds)

    async def post(self, messages: list[tuple[bytes, bool]]) -> int:
        """Deliver the client's messages, in order; return the status to answer with."""
        window = self._server.longpoll.window_seconds
        for number, (data, binary) in enumerate(messages):
            if self.phase is not Phase.OPEN and not await self.wait_until_open(window):
                if self.phase is not Phase.PAUSED:
                    return 410
                counters.count("longpoll_lines_dropped", len(messages) - number)  # as in Phoenix
                log.warning("long-poll messages dropped", socket_id=self.socket_id, seconds=window)
                return 408
            if len(data) > self._server.settings.max_frame_bytes:
                counters.count("frames_malformed")
                self._abort(f"a message of {len(data)} bytes (gateway.max_frame_bytes)")
                return 408
            self.deliver(data, binary)
        # Phoenix answers 408, after a window, when a message ended the session.
        return 408 if self.phase in (Phase.CLOSING, Phase.CLOSED) else 200

    def time_out(self) -> None:
        """End a session whose client no longer polls; what waits is dropped."""
        self._handle(Event.LOST, hub_reason="inactive")

    def discard(self) -> None:
        """Drop what waits, because no poll will fetch it."""
        self._discard(CLIENT_GONE)

    def _abort(self, reason: str) -> None:
        log.warning("long-poll session ended", socket_id=self.socket_id, reason=reason)
        self.discard()
        self.end(CloseCode.INTERNAL_ERROR, reason)

    def _release(self) -> None:
        super()._release()
        self._server.remove(self)
