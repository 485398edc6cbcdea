"""What clients that are not read from can make a gateway keep, where it cannot leave it in the kernel."""

import asyncio
from types import SimpleNamespace

from gateway.transports.longpoll_sessions import LongPollSession
from gateway.transports.zeromq_client import CLOSE, ZeroMQClient
from mesh.errors import CloseCode
from mesh.settings import GatewaySettings, LongPollSettings
from mesh.telemetry import counters

MESSAGE = b"x" * 1_000


class Hub:
    def __init__(self):
        self.received_messages, self.gone = [], []

    def received(self, client, data, binary):
        self.received_messages.append(data)

    def disconnected(self, client, reason):
        self.gone.append(client)


def test_a_zeromq_client_that_floods_while_it_is_not_read_from_is_closed():
    async def scenario():
        said, forgotten = [], []
        clients = SimpleNamespace(
            hub=Hub(),
            gateway=GatewaySettings(max_pending_bytes=10_000),
            say=lambda *message: said.append(message),
            forget=forgotten.append,
        )
        client = ZeroMQClient(clients, b"identity")
        client.client = SimpleNamespace(id="user:1")
        client.pause()
        before = counters.value("zeromq_floods_closed")
        kept = 0
        while not client.over:
            client.received(MESSAGE, False)
            kept += len(MESSAGE)
            assert kept <= 2 * 10_000 + len(MESSAGE)
        assert kept > 10_000
        assert said[-1][1] == CLOSE
        assert said[-1][2]["code"] == CloseCode.TRY_AGAIN_LATER == 1013
        assert "gateway.max_pending_bytes" in said[-1][2]["reason"]
        assert forgotten == [client]
        assert clients.hub.gone == [client.client]
        assert counters.value("zeromq_floods_closed") == before + 1

    asyncio.run(scenario())


def test_a_post_that_may_not_be_handled_is_answered_408_and_its_rest_dropped():
    async def scenario():
        sessions = SimpleNamespace(
            hub=Hub(), gateway=GatewaySettings(), longpoll=LongPollSettings(window_seconds=0.05)
        )
        session = LongPollSession(sessions)
        session.client = SimpleNamespace(id="user:1")
        session.pause()
        before = counters.value("longpoll_lines_dropped")
        assert await session.post([(MESSAGE, False)] * 3) == 408
        assert sessions.hub.received_messages == []
        assert counters.value("longpoll_lines_dropped") == before + 3
        session.resume()
        assert await session.post([(MESSAGE, False)] * 3) == 200
        assert len(sessions.hub.received_messages) == 3

    asyncio.run(scenario())
