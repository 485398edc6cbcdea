"""The transports of a gateway. Add a new one to `TRANSPORTS`; no other file imports it."""

from collections.abc import Callable, Iterator

from mesh.gateway.transports.longpoll.server import LongPoll
from mesh.gateway.transports.server import Services, TransportServer
from mesh.gateway.transports.websocket.server import WebSockets
from mesh.gateway.transports.zeromq.server import ZeroMQ

Maker = Callable[[Services], TransportServer | None]
"""Makes a gateway's transport; None if the settings turn it off."""


def _zeromq(services: Services) -> ZeroMQ | None:
    bind = services.settings.zeromq.bind
    return None if bind is None else ZeroMQ(services, bind)


TRANSPORTS: list[Maker] = [WebSockets, LongPoll, _zeromq]
"""In the order in which their routes are matched."""


def make_transports(services: Services) -> Iterator[TransportServer]:
    """Yield the transports of one gateway, so that the earlier ones can be closed if a later one fails."""
    for make in TRANSPORTS:
        made = make(services)
        if made is not None:
            yield made
