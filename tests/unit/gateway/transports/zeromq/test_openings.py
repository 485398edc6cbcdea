"""gateway/transports/zeromq/openings.py: how many openings may be under way, and what becomes of those given up."""

import asyncio
import json
from types import SimpleNamespace

import zmq

from mesh import Endpoint, SocketHandler
from mesh.gateway.socket_ids import SocketIds
from mesh.gateway.transports.zeromq.messages import CLOSE, OPEN, REFUSED
from mesh.gateway.transports.zeromq.server import ZeroMQ
from mesh.settings import GatewaySettings, Settings, ZeroMQSettings
from tests.support.bus import Bus
from tests.support.until import until

OPENING = b'{"path": "/socket"}'


class SilentBus(Bus):
    """Never says that a subscription is in force."""

    def when_subscribed(self, callback):
        pass


class Handler(SocketHandler):
    """Its `connect` waits. If `stubborn` is set, it ignores cancellation and waits until it may end."""

    stubborn = False
    running = 0

    async def connect(self, params, info):
        cls = type(self)
        cls.running += 1
        try:
            await cls.may_end.wait()
        except asyncio.CancelledError:
            if not cls.stubborn:
                raise
            await cls.may_end.wait()
            return False
        finally:
            cls.running -= 1
        return None


class Named(SocketHandler):
    def connect(self, params, info):
        return None

    def id(self):
        return "users:1"


class Recording(ZeroMQ):
    """Keeps what is said to clients."""

    def __init__(self, services, bind):
        super().__init__(services, bind)
        self.said = []

    def send_control(self, identity, kind, content):
        self.said.append((identity, kind, content))


class Gateway:
    """The ZeroMQ clients of a gateway, and what it has said."""

    def __init__(self, path, handler, max_clients):
        self.context = zmq.Context()
        self.bus, self.connected = SilentBus(), []
        hub = SimpleNamespace(
            socket_ids=SocketIds(self.bus),
            connect=self.connect,
            disconnected=lambda *_: None,
        )
        settings = Settings(
            gateway=GatewaySettings(max_head_bytes=2_000), zeromq=ZeroMQSettings(max_clients=max_clients)
        )
        services = SimpleNamespace(
            hub=hub,
            endpoint=Endpoint(sockets={"/socket": handler}),
            settings=settings,
            context=self.context,
        )
        self.clients = Recording(services, f"ipc://{path}/clients")

    def connect(self, mount, id, assigns, encoding, transport, outbox):
        self.connected.append(SimpleNamespace(mount=mount, id=id, transport=transport, outbox=outbox))
        return self.connected[-1]

    def hear(self, identity, kind, data=b""):
        self.clients.received([identity, kind, data])

    @property
    def said(self):
        return self.clients.said

    @property
    def refusals(self):
        return [content["status"] for _, kind, content in self.said if kind == REFUSED]

    @property
    def under_way(self):
        return len([task for task in asyncio.all_tasks() if task.get_name() == "zeromq client"])


def run(path, scenario, handler=Handler, max_clients=1, stubborn=False):
    async def main():
        class Fresh(handler):
            pass

        Fresh.stubborn, Fresh.may_end = stubborn, asyncio.Event()
        gateway = Gateway(path, Fresh, max_clients)
        try:
            await scenario(gateway, Fresh)
        finally:
            Fresh.may_end.set()
            await gateway.clients.aclose(0)
            gateway.context.term()

    asyncio.run(main())


def test_who_opens_again_and_again_has_one_opening_under_way(tmp_path):
    async def scenario(gateway, handler):
        for _ in range(50):
            gateway.hear(b"one", OPEN, OPENING)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert (gateway.under_way, handler.running, gateway.refusals) == (1, 1, [])
        for _ in range(50):
            gateway.hear(b"one", CLOSE)
            gateway.hear(b"one", OPEN, OPENING)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        gateway.hear(b"one", CLOSE)
        await until(lambda: not gateway.under_way)
        gateway.hear(b"one", OPEN, OPENING)
        handler.may_end.set()
        await until(lambda: gateway.connected)
        assert gateway.said[-1][1] == OPEN
        await until(lambda: not gateway.under_way)

    run(tmp_path, scenario)


def test_a_connect_that_will_not_end_counts_until_it_has_and_refuses_nobody(tmp_path):
    async def scenario(gateway, handler):
        gateway.hear(b"one", OPEN, OPENING)
        await until(lambda: handler.running)
        for _ in range(50):
            gateway.hear(b"one", OPEN, OPENING)
            await asyncio.sleep(0)
        assert (gateway.under_way, gateway.refusals) == (4, [503] * 47), "the last may replace one"
        gateway.said.clear()
        handler.may_end.set()
        await until(lambda: not gateway.under_way)
        assert gateway.refusals == [], "what was given up says nothing to who has the identity now"
        gateway.hear(b"one", OPEN, OPENING)
        await until(lambda: gateway.connected)

    run(tmp_path, scenario, max_clients=3, stubborn=True)


def test_who_goes_while_the_bus_is_waited_for_leaves_no_subscription(tmp_path):
    async def scenario(gateway, handler):
        for _ in range(10):
            gateway.hear(b"one", OPEN, OPENING)
            await until(lambda: gateway.bus.subscribed)
            gateway.hear(b"one", CLOSE)
            await until(lambda: not gateway.under_way)
            assert gateway.bus.subscribed == []
        assert not gateway.connected

    run(tmp_path, scenario, handler=Named)


def test_an_opening_larger_than_the_head_of_a_request_is_refused_at_once(tmp_path):
    async def scenario(gateway, handler):
        large = json.dumps({"path": "/socket", "params": {"x": "x" * 2_000}}).encode()
        gateway.hear(b"one", OPEN, large)
        assert (gateway.refusals, gateway.under_way) == ([413], 0)
        assert "gateway.max_head_bytes" in gateway.said[-1][2]["reason"]

    run(tmp_path, scenario)
