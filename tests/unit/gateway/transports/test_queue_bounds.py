"""What clients that are not read from can make a gateway keep, where it cannot leave it in the kernel."""

import asyncio
from types import SimpleNamespace

from gateway.transports.longpoll.sessions import LongPollSession
from gateway.transports.zeromq.client import CLOSE, PING, TEXT, ZeroMQClient
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


class Full:
    """The ZeroMQ clients of a gateway, of which the one there is takes nothing while `full`."""

    def __init__(self):
        self.hub, self.gateway = Hub(), GatewaySettings()
        self.full, self.sent = False, []

    def send(self, client, frames):
        if not self.full:
            self.sent.append(frames)
        return not self.full

    def forget(self, client): ...

    def say(self, *message): ...


def zeromq_client():
    clients = Full()
    client = ZeroMQClient(clients, b"identity")
    client.client = SimpleNamespace(id="user:1")
    return clients, client


def test_of_the_pings_of_a_zeromq_client_that_does_not_read_the_last_is_answered():
    async def scenario():
        clients, client = zeromq_client()
        client.answer_ping(b"read")
        clients.full = True
        for number in range(1_000):
            client.answer_ping(b"%d" % number)
            client.probe()
        assert client._unsent is None
        client.send((TEXT, b"first"))
        for number in range(1_000):
            client.answer_ping(b"%d" % number)
            client.probe()
        assert len(client._unsent) == 1
        assert not client.flush()
        clients.full = False
        assert client.flush()
        assert clients.sent == [(PING, b"read"), (TEXT, b"first"), (PING, b"999")]
        assert client.flush()
        assert len(clients.sent) == 3

    asyncio.run(scenario())


def test_a_ping_that_is_answered_leaves_no_older_answer_behind():
    async def scenario():
        clients, client = zeromq_client()
        clients.full = True
        client.answer_ping(b"old")
        clients.full = False
        client.answer_ping(b"new")
        assert client.flush()
        assert clients.sent == [(PING, b"new")]

    asyncio.run(scenario())


def test_a_zeromq_client_is_probed_unless_something_waits_for_it():
    async def scenario():
        clients, client = zeromq_client()
        client.probe()
        assert clients.sent == [(PING, b"")]
        clients.full = True
        client.probe()
        client.probe()
        client.answer_ping(b"mine")
        client.probe()
        clients.full = False
        assert client.flush()
        assert clients.sent[1:] == [(PING, b"mine")]
        clients.full = True
        client.answer_ping(b"late")
        client.gone()
        clients.full = False
        assert client.flush()
        assert len(clients.sent) == 2

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
