"""The transports of a gateway. A new one is added to `TRANSPORTS`; nothing else needs to know of it."""

from collections.abc import Callable, Iterator

from gateway.transports.longpoll.server import LongPoll
from gateway.transports.server import Services, TransportServer
from gateway.transports.websocket.server import WebSockets
from gateway.transports.zeromq.server import ZeroMQ

Maker = Callable[[Services], TransportServer | None]
"""Makes a gateway's transport; None if the settings turn it off."""


def _zeromq(services: Services) -> ZeroMQ | None:
    bind = services.settings.zeromq.bind
    return None if bind is None else ZeroMQ(services, bind)


TRANSPORTS: list[Maker] = [WebSockets, LongPoll, _zeromq]
"""In the order in which their routes are looked at."""


def make_transports(services: Services) -> Iterator[TransportServer]:
    """Those of one gateway, one after the other: if one cannot be made, those before it can be closed."""
    for make in TRANSPORTS:
        made = make(services)
        if made is not None:
            yield made
