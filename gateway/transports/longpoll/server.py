"""The long-poll transport of a gateway, for clients that cannot use WebSocket."""

from collections.abc import Mapping
from typing import Any

from mesh.app.mount import Mount
from mesh.bus.calls import CallHandler
from mesh.gateway.transports.admission import Admitted, RefusedError
from mesh.gateway.transports.client_connection import id_subscribed
from mesh.gateway.transports.handshake import handshakes
from mesh.gateway.transports.longpoll.encoding import ENCODINGS
from mesh.gateway.transports.longpoll.handler import LongPollHandler
from mesh.gateway.transports.longpoll.relay import SessionRelay
from mesh.gateway.transports.longpoll.sessions import LongPollSessions
from mesh.gateway.transports.server import Services
from mesh.telemetry import get_logger

log = get_logger(__name__)


class LongPoll:
    """All long-poll clients of a gateway. Implements TransportServer.

    Attributes:
        relay: finds sessions, on other gateways as well.
        draining: whether the gateway is stopping and begins no new sessions.
    """

    name = "longpoll"
    address = ""
    shortcut = None

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self._sessions = LongPollSessions(services.hub, settings.gateway, settings.longpoll)
        self.relay = SessionRelay(self._sessions, services.calls, services.gateway, services.secret)
        self.draining = False
        self._bodies = services.bodies
        self._handshakes = handshakes(services.endpoint, self.name, settings.gateway)

    def routes(self) -> list[tuple[Any, ...]]:
        """Return the routes `<mount>/longpoll`."""
        return [
            (
                each.path.pattern,
                LongPollHandler,
                {"longpoll": self, "handshake": each, "bodies": self._bodies},
            )
            for each in self._handshakes
        ]

    def answers(self) -> Mapping[str, CallHandler]:
        """Return what answers requests that arrived at other gateways."""
        return self.relay.answers

    def start(self) -> None:
        """Nothing to start: clients arrive with requests."""

    def stop_accepting(self) -> None:
        """Begin no new sessions."""
        self.draining = True

    async def aclose(self, timeout_seconds: float) -> None:
        """Drop all sessions; the HTTP server has already answered their requests."""
        del timeout_seconds
        self._sessions.close()

    # Called by requests

    async def open(self, mount: Mount, admitted: Admitted) -> str:
        """Begin a session; return its token. Raises RefusedError."""
        encoding = ENCODINGS.get(admitted.serializer)
        if encoding is None:
            log.warning("connection refused", reason="long-poll carries no binary frames: format=json")
            raise RefusedError(403)
        self._check_limit()
        async with id_subscribed(self._sessions.hub, admitted):
            self._check_limit()  # others may have begun in the meantime
            session = self._sessions.create()
            session.admit(mount, admitted, encoding)
        return self.relay.token(session.id, mount)

    def _check_limit(self) -> None:
        if self.draining:
            raise RefusedError(503)
        if self._sessions.full:
            log.error("too many long-poll sessions", limit=self._sessions.longpoll.max_sessions)
            raise RefusedError(503)
