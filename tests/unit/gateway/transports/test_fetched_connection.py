"""gateway/transports/fetched_connection.py: connections whose messages a request fetches."""

import asyncio
from types import SimpleNamespace

from mesh.gateway.transports.admission import Admitted
from mesh.gateway.transports.client_phases import Phase
from mesh.gateway.transports.fetched_connection import FetchedConnection
from mesh.protocol.serializers.registry import BY_NAME
from mesh.settings import GatewaySettings


class Connection(FetchedConnection):
    name = "fetched"


def server():
    hub = SimpleNamespace(connect=lambda *_: SimpleNamespace(id=None), disconnected=lambda *_: None)
    return SimpleNamespace(hub=hub, settings=GatewaySettings())


def test_after_a_close_a_client_that_fetches_nothing_is_dropped_by_the_idle_time_out():
    async def scenario():
        connection = Connection(server())
        connection.admit(None, Admitted(BY_NAME["v2_json"], None, b"\x80", None), None)
        connection.send(b"not fetched")
        connection.close(1012, "the gateway stops")
        assert connection.phase is Phase.CLOSING
        connection.time_out()
        assert connection.phase is Phase.CLOSED
        assert connection.unsent_bytes == 0

    asyncio.run(scenario())
