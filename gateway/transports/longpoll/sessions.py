"""The long-poll sessions that a gateway holds."""

from mesh.gateway.hub import Hub
from mesh.gateway.transports.client_connection import idle_timer
from mesh.gateway.transports.longpoll.session import LongPollSession
from mesh.settings import GatewaySettings, LongPollSettings

SILENT_WINDOWS = 1.5
"""A session whose client has not polled for this many windows ends, as in Phoenix."""


class LongPollSessions:
    """All sessions, including those that have ended but whose last messages wait for a poll.

    Attributes:
        settings: the gateway's settings.
        longpoll: the settings of long-poll.
    """

    def __init__(self, hub: Hub, settings: GatewaySettings, longpoll: LongPollSettings) -> None:
        self.hub = hub
        self.settings = settings
        self.longpoll = longpoll
        self._sessions: dict[str, LongPollSession] = {}
        self._idle = idle_timer(self._sessions.values, SILENT_WINDOWS * longpoll.window_seconds)

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def full(self) -> bool:
        """Whether the limit of sessions is reached."""
        return len(self._sessions) >= self.longpoll.max_sessions

    def get(self, session_id: str) -> LongPollSession | None:
        """Return the session with this id, or None."""
        return self._sessions.get(session_id)

    def create(self) -> LongPollSession:
        """Make a session for a client that is about to be admitted."""
        session = LongPollSession(self)
        self._sessions[session.id] = session
        return session

    def remove(self, session: LongPollSession) -> None:
        """Remove a session that has ended and in which nothing waits."""
        self._sessions.pop(session.id, None)

    def close(self) -> None:
        """Stop the timer and drop all sessions."""
        self._idle.cancel()
        for session in self._sessions.values():
            session.discard()
        self._sessions.clear()
