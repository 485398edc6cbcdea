"""What clients that are not read from can make a gateway keep, where it cannot leave it in the kernel."""

import asyncio
from types import SimpleNamespace

from mesh.errors import CloseCode
from mesh.gateway.transports.admission import Admitted
from mesh.gateway.transports.client_phases import Phase
from mesh.gateway.transports.longpoll.session import LongPollSession
from mesh.gateway.transports.zeromq.client import ZeroMQClient
from mesh.gateway.transports.zeromq.messages import CLOSE, ENCODINGS, PING, TEXT
from mesh.protocol.serializers.registry import BY_NAME
from mesh.settings import GatewaySettings, LongPollSettings
from mesh.telemetry import counters

MESSAGE = b"x" * 1_000
MOUNT = SimpleNamespace(path="/socket")
ADMITTED = Admitted(BY_NAME["v2_json"], "user:1", b"\x80", None)


class Hub:
    def __init__(self):
        self.received_messages, self.gone = [], []

    def connect(self, mount, id, assigns, encoding, transport, outbox):
        return SimpleNamespace(mount=mount, id=id, transport=transport, outbox=outbox)

    def received(self, client, data, binary):
        self.received_messages.append(data)

    def disconnected(self, client, reason):
        self.gone.append(client)


class Router:
    """The ZeroMQ transport of a gateway, whose one client takes nothing while `full`."""

    def __init__(self, **settings):
        self.hub, self.settings = Hub(), GatewaySettings(**settings)
        self.full, self.sent, self.said, self.forgotten = False, [], [], []

    def send(self, client, frames):
        if not self.full:
            self.sent.append(frames)
        return not self.full

    def forget(self, client):
        self.forgotten.append(client)

    def send_control(self, *message):
        self.said.append(message)


def zeromq_client(**settings):
    router = Router(**settings)
    client = ZeroMQClient(router, b"identity")
    client.admit(MOUNT, ADMITTED, ENCODINGS[ADMITTED.serializer])
    return router, client


def test_a_zeromq_client_that_floods_while_it_is_not_read_from_is_closed():
    async def scenario():
        router, client = zeromq_client(max_pending_bytes=10_000)
        client.pause()
        before = counters.value("zeromq_floods_closed")
        kept = 0
        while client.phase is Phase.PAUSED:
            client.received(MESSAGE, False)
            kept += len(MESSAGE)
            assert kept <= 2 * 10_000 + len(MESSAGE)
        assert kept > 10_000
        assert router.said[-1][1] == CLOSE
        assert router.said[-1][2]["code"] == CloseCode.TRY_AGAIN_LATER == 1013
        assert "gateway.max_pending_bytes" in router.said[-1][2]["reason"]
        assert router.forgotten == [client]
        assert router.hub.gone == [client.client]
        assert counters.value("zeromq_floods_closed") == before + 1

    asyncio.run(scenario())


def test_what_a_zeromq_client_said_while_it_was_not_read_from_comes_first_and_in_order():
    async def scenario():
        router, client = zeromq_client()
        client.pause()
        client.received(b"1", False)
        client.received(b"2", False)
        assert router.hub.received_messages == []
        client.resume()
        client.received(b"3", False)
        assert router.hub.received_messages == [b"1", b"2", b"3"]

    asyncio.run(scenario())


def test_of_the_pings_of_a_zeromq_client_that_does_not_read_the_last_is_answered():
    async def scenario():
        router, client = zeromq_client()
        client.answer_ping(b"read")
        router.full = True
        for number in range(1_000):
            client.answer_ping(b"%d" % number)
            client.probe()
        assert client.unsent_bytes == 0
        client.send((TEXT, b"first"))
        for number in range(1_000):
            client.answer_ping(b"%d" % number)
            client.probe()
        assert client.unsent_bytes == len(b"first")
        assert not client.flush()
        router.full = False
        assert client.flush()
        assert router.sent == [(PING, b"read"), (TEXT, b"first"), (PING, b"999")]
        assert client.flush()
        assert len(router.sent) == 3

    asyncio.run(scenario())


def test_a_ping_that_is_answered_leaves_no_older_answer_behind():
    async def scenario():
        router, client = zeromq_client()
        router.full = True
        client.answer_ping(b"old")
        router.full = False
        client.answer_ping(b"new")
        assert client.flush()
        assert router.sent == [(PING, b"new")]

    asyncio.run(scenario())


def test_a_zeromq_client_is_probed_unless_something_waits_for_it():
    async def scenario():
        router, client = zeromq_client()
        client.probe()
        assert router.sent == [(PING, b"")]
        router.full = True
        client.probe()
        client.probe()
        client.answer_ping(b"mine")
        client.probe()
        router.full = False
        assert client.flush()
        assert router.sent[1:] == [(PING, b"mine")]
        router.full = True
        client.answer_ping(b"late")
        client.lost()
        router.full = False
        assert client.flush()
        assert len(router.sent) == 2

    asyncio.run(scenario())


def test_a_post_that_may_not_be_handled_is_answered_408_and_its_rest_dropped():
    async def scenario():
        sessions = SimpleNamespace(
            hub=Hub(), settings=GatewaySettings(), longpoll=LongPollSettings(window_seconds=0.05)
        )
        session = LongPollSession(sessions)
        session.admit(MOUNT, ADMITTED, ENCODINGS[ADMITTED.serializer])
        session.pause()
        before = counters.value("longpoll_lines_dropped")
        assert await session.post([(MESSAGE, False)] * 3) == 408
        assert sessions.hub.received_messages == []
        assert counters.value("longpoll_lines_dropped") == before + 3
        session.resume()
        assert await session.post([(MESSAGE, False)] * 3) == 200
        assert len(sessions.hub.received_messages) == 3

    asyncio.run(scenario())
