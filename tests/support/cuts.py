"""Nodes on hosts of their own, and rooms whose members notice every loss, for tests/cluster/test_cuts.py."""

import asyncio
import contextlib
import itertools
import re
import time

from mesh.zeromq.keys import KeyDirectory
from tests.support.namespaces import network
from tests.support.presence import View
from tests.support.until import PATIENCE, until, until_sync
from tests.support.websocket import PhoenixClient

APP = "tests.support.cuts_app:endpoint"

BEAT, SILENCE = 0.2, 1.0
SETTINGS = {
    "MESH_LOG__LEVEL": "debug",
    "MESH_LINK__HEARTBEAT_SECONDS": str(BEAT),
    "MESH_LINK__HEARTBEAT_TIMEOUT_SECONDS": str(SILENCE),
    "MESH_BUS__HEARTBEAT_SECONDS": str(BEAT),
    "MESH_BUS__HEARTBEAT_TIMEOUT_SECONDS": str(SILENCE),
    "MESH_BUS__ANNOUNCE_SECONDS": "0.3",
    "MESH_BUS__NODE_DOWN_SECONDS": "2.0",
    "MESH_BUS__PROXY_TIMEOUT_SECONDS": "1.0",
    "MESH_LINK__HELLO_TIMEOUT_SECONDS": "1.0",
    "MESH_GATEWAY__BUS_WAIT_SECONDS": "1.0",
    "MESH_PRESENCE__HEARTBEAT_SECONDS": "0.3",
    "MESH_PRESENCE__DOWN_SECONDS": "2.0",
    "MESH_ADMIN__READY_SECONDS": "1.0",
    "MESH_ADMIN__PORT": "0",
}
MARGIN = 8.0
"""For a machine that is busy with other things."""
WORKERS, GATEWAYS = ("worker-1", "worker-2"), ("gateway-1", "gateway-2")
PORT = 4000
topics = (f"room:{number}" for number in itertools.count(1))
"""Each is new."""


class Mesh:
    """Two gateways, two workers, one proxy or two, each on its host, and a host for the clients."""

    def __init__(self, directory, proxies, env=None):
        self.proxies = tuple(f"proxy-{number}" for number in range(1, proxies + 1))
        self.nodes = {}
        self._directory = directory
        self._keys = KeyDirectory(directory / "keys")
        self._stack = contextlib.ExitStack()
        self._env = env or {}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.network = stack.enter_context(network("clients", *GATEWAYS, *WORKERS, *self.proxies))
            for name in ("proxy", *GATEWAYS, *WORKERS):
                self._keys.generate(name)
            for name in self.proxies:
                address = f"tcp://{self.network[name].address}:5550"
                self._start(stack, name, "proxy", "--bind", address, key="proxy")
            for name in WORKERS:
                self._start(stack, name, "worker", APP)
            for name in GATEWAYS:
                self._start(stack, name, "gateway", APP, "--host", "0.0.0.0", "--port", str(PORT))
            self.admin = {
                name: int(self.nodes[name].wait_for(r"admin\s+http://\S+:(\d+)")[1])
                for name in (*WORKERS, *GATEWAYS)
            }
            self.pids = {self.nodes[name].pid: name for name in WORKERS}
            self.wait_until_ready()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        self.network.heal()
        self._stack.close()

    def _start(self, stack, name, *arguments, key=None):
        host = self.network[name]
        env = {
            **SETTINGS,
            **self._env,
            "MESH_SECURITY__KEYS": str(self._keys.path),
            "MESH_SECURITY__NODE_KEY": str(self._keys.path / "secret" / f"{key or name}.key_secret"),
            "MESH_BUS__PROXIES": ",".join(
                f"tcp://{self.network[proxy].address}:5550" for proxy in self.proxies
            ),
            "MESH_LINK__BIND": f"tcp://{host.address}:*",
            "MESH_LINK__ADVERTISE_HOST": host.address,
        }
        self.nodes[name] = stack.enter_context(host.node(self._directory, *arguments, env=env))

    @contextlib.contextmanager
    def cut(self, one, two, way):
        """`there`: what the first sends is lost; `back`: what the second sends; healed at the end."""
        if way != "back":
            self.network.cut(one, two)
        if way != "there":
            self.network.cut(two, one)
        try:
            yield
        finally:
            self.network.heal()

    def wrong(self):
        """What is wrong by /readyz, by node; empty if all are ready."""
        answers = {name: self.network[name].wrong(port) for name, port in self.admin.items()}
        return {name: wrong for name, wrong in answers.items() if wrong}

    def metric(self, name, metric):
        status, body = self.network[name].get(self.admin[name], "/metrics")
        assert status == 200
        return float(re.search(rf"^mesh_{metric} (\S+)", body, re.M)[1])

    def whole(self):
        links = all(self.metric(name, "links") == 2 for name in (*GATEWAYS, *WORKERS))
        return links and not self.wrong() and all(map(self._uses_all_proxies, self.admin))

    def _uses_all_proxies(self, name):
        said = re.findall(r"proxies in use .*?(\[.*\])", self.nodes[name].log())
        return bool(said) and said[-1].count("tcp://") == len(self.proxies)

    def wait_until_ready(self, seconds=PATIENCE):
        until_sync(self.whole, seconds)

    async def client(self, gateway):
        address = self.network[gateway].address
        sock = self.network["clients"].connect(address, PORT)
        return await PhoenixClient.connect(f"http://{address}:{PORT}", sock=sock)


class Member:
    """A client in a room, and all it has been told; reads by itself."""

    def __init__(self, mesh, gateway, topic, number):
        self.mesh, self.gateway, self.topic, self.number = mesh, gateway, topic, number
        self.key = f"u{number}"
        self.view, self.said, self.crashes, self.worker = View(), [], [], None
        self.answers = {}

    async def open(self):
        self.client = await self.mesh.client(self.gateway)
        self.reader = asyncio.create_task(self._read())
        assert await self.join() == "ok"
        return self

    async def join(self):
        self.view = View()
        ref = self.client.join_refs[self.topic] = self.client.ref()
        self.client.say(ref, ref, self.topic, "phx_join", {"as": self.key, "n": self.number})
        status, response = await self.answer(ref)
        self.worker = self.mesh.pids[response["pid"]] if status == "ok" else None
        return status

    async def push(self, event, **payload):
        return (await self.answer(self.client.cast(self.topic, event, payload)))[0]

    async def say(self, what):
        return await self.push("say", by=self.key, what=what)

    async def answer(self, ref):
        answer = self.answers[ref] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE):
            return await answer

    def here(self):
        return self.view.here()

    def close(self):
        self.reader.cancel()
        self.client.close()

    async def _read(self):
        while True:
            _, ref, _, event, payload = await self.client.next()
            if event == "phx_reply":
                answer = self.answers.pop(ref)
                if not answer.done():
                    answer.set_result((payload["status"], payload["response"]))
            elif event == "phx_error":
                self.crashes.append(time.monotonic())
                self.worker = None
            elif event == "said":
                self.said.append((payload["by"], payload["what"]))
            else:
                self.view.take([None, None, None, event, payload])


@contextlib.asynccontextmanager
async def room(mesh):
    """Members until each gateway has some on each worker; all know of all.

    For half a minute after cuts in a row a gateway sends joins to the other worker, if it can.
    """
    topic, numbers, members = next(topics), itertools.count(), []
    try:
        async with asyncio.timeout(PATIENCE):
            while len({(each.gateway, each.worker) for each in members}) < 4 or len(members) < 8:
                if len(members) == 20:
                    members.pop(0).close()
                    await asyncio.sleep(0.5)  # between tries
                number = next(numbers)
                members.append(await Member(mesh, GATEWAYS[number % 2], topic, number).open())
        await until(lambda: all(each.here() == everybody(members) for each in members))
        yield members
        for each in members:
            if each.reader.done() and not each.reader.cancelled():
                each.reader.result()
    finally:
        for each in members:
            each.reader.cancel()


def everybody(members):
    return {each.key: [each.number] for each in members}


async def whole(mesh):
    """Until the mesh says so itself; returns how long it took."""
    healed = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(mesh.whole):
            await asyncio.sleep(0.05)
    return time.monotonic() - healed


async def channels_are(mesh, members):
    """Until the workers run these members' channels and no others: a zombie would be one too many."""

    def right():
        wanted = dict.fromkeys(WORKERS, 0)
        for each in members:
            wanted[each.worker] += 1
        return all(mesh.metric(name, "open_channels") == wanted[name] for name in WORKERS)

    async with asyncio.timeout(PATIENCE):
        while not await asyncio.to_thread(right):
            await asyncio.sleep(0.05)


async def all_hear_all_once(members, what):
    """Each says something, and each hears each exactly once."""
    for each in members:
        assert await each.say(what) == "ok"
    wanted = sorted((each.key, what) for each in members)
    await until(lambda: all(len(heard(each, what)) >= len(wanted) for each in members))
    for each in members:
        assert sorted(heard(each, what)) == wanted
    for each in members:  # and nothing at all twice
        assert len(set(each.said)) == len(each.said)


def heard(member, what):
    return [said for said in member.said if said[1] == what]
