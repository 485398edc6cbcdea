"""Proxies that have a name, whose addresses change."""

import asyncio
import contextlib
import socket
import threading

import pytest
import zmq

from mesh import settings
from mesh.app import topics
from mesh.bus.delivery import subscribed
from mesh.bus.discovery.announcements import Announcer
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import ANNOUNCEMENT
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.bus.zeromq.proxy_names import LAST_RETRY_SECONDS
from mesh.errors import NodeError
from mesh.nodes.health import Prober
from mesh.zeromq.name_resolution import resolve
from tests.support.proxy import handlers, node_handlers, proxy, two_ports_in_a_row
from tests.support.until import PATIENCE, until

HOST = "proxies.mesh.test"


class Dns:
    """What `getaddrinfo` finds: set `addresses`; None fails, `hang` never answers until it is set."""

    def __init__(self):
        self.addresses = []
        self.hang = threading.Event()
        self.hang.set()
        self.asked = 0

    def getaddrinfo(self, host, port, *_, **__):
        assert host == HOST
        self.asked += 1
        self.hang.wait(PATIENCE)
        if self.addresses is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in self.addresses]


@pytest.fixture
def dns(monkeypatch):
    made = Dns()
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **k: (made.getaddrinfo if host == HOST else real)(host, *a, **k),
    )
    yield made
    made.hang.set()


class Node:
    """A bus that announces itself and keeps what comes on `room:`."""

    def __init__(self, name, port):
        bus_settings = {
            "proxies": [f"tcp://{HOST}:{port}"],
            "resolve_seconds": 0.5,
            "announce_seconds": 0.2,
        }
        loaded = settings.load(flags={"bus": bus_settings}).bus
        self.came = []
        self.context = zmq.Context()
        self.bus = ZeroMQBus(self.context, name, loaded)
        self.bus.subscribe(topics.prefix("room:*"))
        announcement = Announcement(node=name, kind="gateway")
        self.announcer = Announcer(self.bus, announcement, 0.2, 5.0)
        self.prober = Prober(self.bus, self.announcer, 1.0)
        self.announcer.start(node_handlers())
        self.bus.start(
            handlers(
                broadcast=lambda topic, header, data: self.came.append(int(data)),
                messages={ANNOUNCEMENT: self.announcer.on_announcement},
                paths_changed=self.announcer.paths_changed,
            )
        )
        self.bus.when_subscribed(self.prober.start)

    def say(self, *numbers):
        for number in numbers:
            self.bus.publish("room:1", "e", 0, str(number).encode(), None)

    def uses(self):
        return {each.split("//")[1].split(":")[0] for each in self.bus.publisher.uses}

    def wrong(self):
        return {name: problem for name, problem in self.prober.checks().items() if problem}

    def close(self):
        self.prober.close()
        self.announcer.close()
        self.bus.close()
        self.context.term()


@contextlib.contextmanager
def nodes(port):
    one, two = Node("one", port), Node("two", port)
    try:
        yield one, two
    finally:
        one.close()
        two.close()


def at(number, port):
    """A proxy at one of loopback's many addresses."""
    return proxy(f"tcp://127.0.0.{number}:{port}")


def all_use(both, *numbers):
    wanted = {f"127.0.0.{number}" for number in numbers}
    return all(node.uses() == wanted and not node.wrong() for node in both)


def test_a_lone_proxy_is_found_at_its_new_address_and_nothing_is_lost(dns):
    async def scenario():
        port = two_ports_in_a_row()
        dns.addresses = ["127.0.0.2"]
        with nodes(port) as both:
            one, two = both
            async with at(2, port):
                await until(lambda: all_use(both, 2))
                one.say(1, 2)
                await until(lambda: two.came == [1, 2])
            await until(lambda: one.wrong() and two.wrong())
            one.say(3, 4)
            async with at(3, port):
                dns.addresses = ["127.0.0.3"]
                await until(lambda: all_use(both, 3))
                one.say(5)
                await until(lambda: two.came == [1, 2, 3, 4, 5])
                only = [f"tcp://127.0.0.3:{port}"]
                await until(lambda: [each.address for each in one.bus.publisher.connections] == only)

    asyncio.run(scenario())


def test_two_proxies_are_replaced_one_after_the_other_while_messages_flow(dns):
    async def scenario():
        port = two_ports_in_a_row()
        dns.addresses = ["127.0.0.2", "127.0.0.3"]
        sent = 0

        async def flow(both, condition):
            nonlocal sent
            for _ in range(3000):
                sent += 1
                both[0].say(sent)
                await asyncio.sleep(0.01)
                if condition():
                    return
            raise AssertionError([(node.uses(), node.wrong()) for node in both])

        async with contextlib.AsyncExitStack() as last:
            with nodes(port) as both:
                async with at(3, port):
                    async with at(2, port):
                        await until(lambda: all_use(both, 2, 3))
                        await flow(both, lambda: sent > 10)
                        await last.enter_async_context(at(4, port))
                    dns.addresses = ["127.0.0.4", "127.0.0.3"]
                    await flow(both, lambda: all_use(both, 3, 4))
                    await subscribed(both[1].bus)
                dns.addresses = ["127.0.0.4"]
                await flow(both, lambda: all_use(both, 4))
                await until(lambda: both[1].came[-1] == sent)
                assert both[1].came == list(range(1, sent + 1))

    asyncio.run(scenario())


def test_an_address_that_vanished_is_used_while_its_connection_lives(dns):
    async def scenario():
        port = two_ports_in_a_row()
        dns.addresses = ["127.0.0.2", "127.0.0.3"]
        with nodes(port) as both:
            async with at(2, port):
                async with at(3, port):
                    await until(lambda: all_use(both, 2, 3))
                    dns.addresses = ["127.0.0.2"]
                    asked = dns.asked
                    await until(lambda: dns.asked > asked + 4)
                    assert all_use(both, 2, 3)
                await until(lambda: all_use(both, 2))
                await until(lambda: all(len(node.bus.publisher.connections) == 1 for node in both))

    asyncio.run(scenario())


@pytest.mark.parametrize("way", ["fails", "hangs"])
def test_without_dns_what_works_goes_on_and_a_start_waits_for_it(dns, way):
    async def scenario():
        port = two_ports_in_a_row()
        if way == "fails":
            dns.addresses = None
        else:
            dns.hang.clear()
        with nodes(port) as both:
            async with at(2, port):
                await until(lambda: dns.asked >= 2)
                assert all(node.wrong() for node in both)
                dns.addresses = ["127.0.0.2"]
                dns.hang.set()
                await until(lambda: all_use(both, 2))
                dns.addresses = None
                if way == "hangs":
                    dns.hang.clear()
                both[0].say(1)
                await until(lambda: both[1].came == [1])
            await until(lambda: both[0].wrong())
            threads = sum(each.name == "look-up" for each in threading.enumerate())
            assert threads <= 2  # one for each bus and name at a time
            async with at(2, port):
                await until(lambda: all_use(both, 2))
            dns.hang.set()

    asyncio.run(scenario())


def test_names_are_asked_for_at_a_bounded_rate_while_a_proxy_is_away(dns):
    async def scenario():
        port = two_ports_in_a_row()
        dns.addresses = ["127.0.0.2"]
        with nodes(port):
            loop = asyncio.get_running_loop()
            began = loop.time()
            await until(lambda: dns.asked >= 14)
            # Two nodes, each at 0, 0.1, 0.3, 0.7, 1.5 seconds and then once a second.
            assert loop.time() - began > 2 * LAST_RETRY_SECONDS

    asyncio.run(scenario())


def test_a_name_is_resolved_within_the_time_given_or_it_says_so(dns):
    async def scenario():
        assert await resolve("ipc:///x") == ["ipc:///x"]
        assert await resolve("tcp://localhost:5") == ["tcp://127.0.0.1:5"]
        assert await resolve("tcp://[::1]:5") == ["tcp://[::1]:5"]
        dns.addresses = ["10.0.0.2", "10.0.0.1"]
        assert await resolve(f"tcp://{HOST}:5") == ["tcp://10.0.0.1:5", "tcp://10.0.0.2:5"]
        dns.hang.clear()
        with pytest.raises(NodeError, match=f"{HOST}.*no answer within 0.1 s"):
            await resolve(f"tcp://{HOST}:5", 0.1)
        dns.hang.set()
        dns.addresses = None
        with pytest.raises(NodeError, match=f"{HOST}.*Name or service not known"):
            await resolve(f"tcp://{HOST}:5")

    asyncio.run(scenario())
