"""Proxies that have a name: it is looked up again and again, and what it stands for may change.

Every node, the DNS server and the clients are on hosts of their own (tests/support/namespaces.py).
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from mesh.zeromq.keys import KeyDirectory
from tests.support.namespaces import missing, network
from tests.support.until import PATIENCE, until, until_sync
from tests.support.websocket import PhoenixClient, run

APP = "examples.conformance:endpoint"
PATH = f"{os.environ['PATH']}:/usr/sbin"
NAME = "proxies.mesh.test"
NODES = ("gateway-1", "gateway-2", "worker")
GATEWAYS = NODES[:2]
PROXIES = ("a", "b", "c")
PORT = 4000
"""Three nodes start at a time, on a machine that may be busy."""
SETTINGS = {
    "MESH_LOG__LEVEL": "debug",
    "MESH_BUS__RESOLVE_SECONDS": "1",
    "MESH_ADMIN__PORT": "0",
    "MESH_ADMIN__READY_SECONDS": "1",
    "MESH_GATEWAY__BUS_WAIT_SECONDS": "240",
}


class Mesh:
    """Two gateways and a worker that know their proxies by one name; `names` says what it stands for."""

    def __init__(self, directory, stack):
        self._directory = directory
        self._keys = KeyDirectory(directory / "keys")
        self._proxies = {}
        self._stack = stack
        self.network = stack.enter_context(network("dns", "clients", *NODES, *PROXIES))
        for name in ("proxy", *NODES):
            self._keys.generate(name)
        self._records = directory / "records"
        self._records.write_text("")
        self._start_dns()
        self.start("a")
        self.names("a")
        self.nodes = {name: self._node(name) for name in NODES}
        self.ports = {name: self._port(node) for name, node in self.nodes.items()}

    def _port(self, node):
        def found():
            assert node.popen.poll() is None, node.log()
            return re.search(r"admin\s+http://\S+:(\d+)", node.log())

        return int(until_sync(found)[1])

    def _start_dns(self):
        host = self.network["dns"]
        arguments = (
            shutil.which("dnsmasq", path=PATH), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--user=root", "--pid-file=",
            f"--addn-hosts={self._records}", "--local-ttl=0", "--bind-interfaces",
            f"--listen-address={host.address}", "--log-facility=-",
        )  # fmt: skip
        log = self._stack.enter_context((self._directory / "dns.log").open("w"))
        self.dns = subprocess.Popen(
            ["ip", "netns", "exec", host.namespace, *arguments], stdout=log, stderr=log
        )
        self._stack.callback(self._stop_dns)

    def _stop_dns(self):
        self.dns.send_signal(signal.SIGCONT)
        self.dns.kill()
        self.dns.wait(PATIENCE)

    def names(self, *proxies):
        """From now on the name stands for these."""
        lines = [f"{self.network[each].address} {NAME}\n" for each in proxies]
        self._records.write_text("".join(lines))
        self.dns.send_signal(signal.SIGHUP)

    def _environment(self, key):
        return {
            **SETTINGS,
            "MESH_SECURITY__KEYS": str(self._keys.path),
            "MESH_SECURITY__NODE_KEY": str(self._keys.path / "secret" / f"{key}.key_secret"),
        }

    def _node(self, name):
        host = self.network[name]
        resolver = Path("/etc/netns") / host.namespace
        resolver.mkdir(parents=True)
        self._stack.callback(shutil.rmtree, resolver)
        dns = self.network["dns"].address
        (resolver / "resolv.conf").write_text(f"nameserver {dns}\noptions timeout:1 attempts:1\n")
        env = {
            **self._environment(name),
            "MESH_BUS__PROXIES": f"tcp://{NAME}:5550",
            "MESH_LINK__BIND": f"tcp://{host.address}:*",
        }
        kind = (
            ("worker", APP)
            if name == "worker"
            else ("gateway", APP, "--host", "0.0.0.0", "--port", str(PORT))
        )
        return self._stack.enter_context(host.node(self._directory, *kind, env=env))

    def start(self, proxy):
        host = self.network[proxy]
        started = contextlib.ExitStack()
        address = f"tcp://{host.address}:5550"
        process = started.enter_context(
            host.node(self._directory, "proxy", "--bind", address, env=self._environment("proxy"))
        )
        until_sync(lambda: "subscribers" in process.log())
        self._proxies[proxy] = started
        self._stack.push(lambda *_: self.stop(proxy))

    def stop(self, proxy):
        """Gone with its host: what still connects there is told so at once."""
        started = self._proxies.pop(proxy, None)
        if started is not None:
            started.close()

    def wrong(self):
        answers = {name: self.network[name].wrong(port) for name, port in self.ports.items()}
        return {name: wrong for name, wrong in answers.items() if wrong}

    def uses(self, *proxies):
        """Whether every node is ready and publishes through exactly these."""
        wanted = {f"tcp://{self.network[each].address}:5550" for each in proxies}
        for node in self.nodes.values():
            said = [line for line in node.log().splitlines() if "proxies in use" in line]
            if not said or {each for each in wanted if each in said[-1]} != wanted:
                return False
            if said[-1].count("tcp://") != len(wanted):
                return False
        return not self.wrong()

    async def client(self, gateway):
        address = self.network[gateway].address
        sock = self.network["clients"].connect(address, PORT)
        return await PhoenixClient.connect(f"http://{address}:{PORT}", sock=sock)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    if why_not := missing():
        pytest.skip(why_not)
    assert shutil.which("dnsmasq", path=PATH), (
        "install dnsmasq (Debian: dnsmasq-base); scripts/test.sh does"
    )
    with contextlib.ExitStack() as stack:
        running = Mesh(tmp_path_factory.mktemp("names"), stack)
        until_sync(lambda: running.uses("a"))
        yield running


async def arrives(listener, first, last):
    """Each number once, in order."""
    for number in range(first, last):
        assert (await listener.next())[3:] == ["new_msg", {"n": number}]


def test_a_lone_proxy_is_replaced_at_another_address(mesh):
    async def scenario():
        speaker, listener = await mesh.client("gateway-1"), await mesh.client("gateway-2")
        for each in (speaker, listener):
            assert (await each.join("room:1"))[0] == "ok"
        await asyncio.to_thread(mesh.stop, "a")
        await until(lambda: set(mesh.wrong()) == set(NODES))
        for number in range(5):
            speaker.cast("room:1", "new_msg", {"n": number})
        await asyncio.to_thread(mesh.start, "b")
        mesh.names("b")
        await until(lambda: mesh.uses("b"))
        for number in range(5, 10):
            speaker.cast("room:1", "new_msg", {"n": number})
        await arrives(listener, 0, 10)
        assert (await listener.join("room:new"))[0] == "ok"

    run(scenario())


def test_two_proxies_are_replaced_one_after_the_other_while_messages_flow(mesh):
    mesh.names(*mesh._proxies)
    until_sync(lambda: mesh.uses(*mesh._proxies))
    old = next(iter(mesh._proxies))
    second, third = (each for each in PROXIES if each != old)

    async def scenario():
        speaker, listener = await mesh.client("gateway-1"), await mesh.client("gateway-2")
        for each in (speaker, listener):
            assert (await each.join("room:2"))[0] == "ok"
        sent = 0

        async def flows(done):
            nonlocal sent
            first = sent

            def more():
                nonlocal sent
                speaker.cast("room:2", "new_msg", {"n": sent})
                sent += 1
                return sent - first > 10 and done()

            await until(more)

        await asyncio.to_thread(mesh.start, second)
        mesh.names(old, second)
        await flows(lambda: mesh.uses(old, second))
        mesh.names(second, third)
        await asyncio.to_thread(mesh.start, third)
        await asyncio.to_thread(mesh.stop, old)
        await flows(lambda: mesh.uses(second, third))
        assert (await listener.join("room:between"))[0] == "ok"
        mesh.names(third)
        await asyncio.to_thread(mesh.stop, second)
        await flows(lambda: mesh.uses(third))
        await arrives(listener, 0, sent)
        assert (await listener.join("room:after"))[0] == "ok"

    run(scenario())


def test_a_dns_server_that_does_not_answer_stops_nothing(mesh):
    (only,) = mesh._proxies
    mesh.names(only)
    until_sync(lambda: mesh.uses(only))
    mesh.dns.send_signal(signal.SIGSTOP)

    async def scenario():
        speaker, listener = await mesh.client("gateway-1"), await mesh.client("gateway-2")
        for each in (speaker, listener):
            assert (await each.join("room:3"))[0] == "ok"
        said = "name of a proxy cannot be looked up"
        await until(lambda: all(said in node.log() for node in mesh.nodes.values()))
        assert mesh.wrong() == {}
        speaker.cast("room:3", "new_msg", {"n": 0})
        await asyncio.to_thread(mesh.stop, only)
        await asyncio.to_thread(mesh.start, only)
        await until(lambda: mesh.uses(only))
        speaker.cast("room:3", "new_msg", {"n": 1})
        await arrives(listener, 0, 2)

    try:
        run(scenario())
    finally:
        os.kill(mesh.dns.pid, signal.SIGCONT)
