"""The network between hosts fails, one way or both, without a word: found within bounds, right again after.

Every node and the clients are on hosts of their own (tests/support/namespaces.py), and therefore have keys.
"""

import asyncio
import contextlib
import itertools
import re
import time

import pytest

from mesh.zeromq.keys import KeyDirectory
from tests.support.namespaces import missing, network
from tests.support.presence import View
from tests.support.until import PATIENCE, until, until_sync
from tests.support.websocket import PhoenixClient, run

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
CUT_SECONDS = 4.0
"""Until every connection that was cut has ended: what was in it is lost then."""
WAYS = ["there", "back", "both"]
WORKERS, GATEWAYS = ("worker-1", "worker-2"), ("gateway-1", "gateway-2")
PORT = 4000
_topics = itertools.count(1)


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
            self.wait_whole()
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

    def wait_whole(self, seconds=PATIENCE):
        until_sync(self.whole, seconds)

    async def client(self, gateway):
        address = self.network[gateway].address
        sock = self.network["clients"].connect(address, PORT)
        return await PhoenixClient.connect(f"http://{address}:{PORT}", sock=sock)


@pytest.fixture(scope="module")
def namespaces():
    if why_not := missing():
        pytest.skip(why_not)


@pytest.fixture(scope="module")
def mesh(namespaces, tmp_path_factory):
    with Mesh(tmp_path_factory.mktemp("cuts"), proxies=1) as running:
        yield running


@pytest.fixture(scope="module")
def mesh2(namespaces, tmp_path_factory):
    # as slow to find out as by default: what the proxy has taken meanwhile must not be lost either
    slow = {
        "MESH_BUS__HEARTBEAT_TIMEOUT_SECONDS": "2.5",
        "MESH_BUS__PROXY_TIMEOUT_SECONDS": "2.0",
        "MESH_GATEWAY__BUS_WAIT_SECONDS": "5",
        "MESH_ADMIN__READY_SECONDS": "3",
    }
    with Mesh(tmp_path_factory.mktemp("cuts"), 2, slow) as running:
        yield running


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
    topic, numbers, members = f"room:{next(_topics)}", itertools.count(), []
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


def told(what, seconds):
    print(f"measured: {what}: {seconds:.2f} s")


@pytest.mark.parametrize("way", WAYS)
def test_gateway_and_worker_cut(mesh, way):
    async def scenario():
        async with room(mesh) as members:
            await channels_are(mesh, members)
            lost = [m for m in members if (m.gateway, m.worker) == ("gateway-1", "worker-1")]
            kept = [m for m in members if m not in lost]
            for each in members:
                each.view.diffs.clear()
            with mesh.cut("gateway-1", "worker-1", way):
                began = time.monotonic()
                await until(lambda: all(each.crashes for each in lost))
                took = max(each.crashes[0] for each in lost) - began
                told(f"gateway|worker {way}, phx_error", took)
                assert took < BEAT + SILENCE + MARGIN
                for each in lost:
                    assert await each.join() == "ok"
                    assert each.worker == "worker-2"
                await channels_are(mesh, members)
                told(f"gateway|worker {way}, no zombie in the worker", time.monotonic() - began)
                await until(lambda: all(each.here() == everybody(members) for each in members))
                await all_hear_all_once(members, "cut")
                await until(lambda: not mesh.wrong())  # every route has a worker, and the bus delivers
            told(f"gateway|worker {way}, whole after healing", await whole(mesh))
            await until(lambda: all(each.here() == everybody(members) for each in members))
            assert not any(each.crashes for each in kept)
            left = {key for each in members for diff in each.view.diffs for key in diff["leaves"]}
            assert left <= {each.key for each in lost}, "nobody else's presence flickers"
            await all_hear_all_once(members, "healed")
            await channels_are(mesh, members)

    run(scenario())


def deaf(wrong):
    """Whom the bus does not reach, by their own word; others may miss them."""
    return [name for name, reasons in wrong.items() if "bus" in reasons]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("hurt", ["gateway-1", "worker-1"])
def test_the_only_proxy_and_one_node_cut(mesh, hurt, way):
    async def scenario():
        async with room(mesh) as members:
            leaver = next(m for m in members if (m.gateway, m.worker) == ("gateway-2", "worker-1"))
            stay = [each for each in members if each is not leaver]
            with mesh.cut(hurt, "proxy-1", way):
                began = time.monotonic()
                while deaf(wrong := await asyncio.to_thread(mesh.wrong)) != [hurt]:
                    assert time.monotonic() - began < 1.0 + 1.0 + BEAT + SILENCE + MARGIN, wrong
                    await asyncio.sleep(0.05)
                told(f"{hurt}|proxy {way}, not ready", time.monotonic() - began)
                assert "no probe has come back" in wrong[hurt]["bus"]
                leaver.close()
                answers = await asyncio.gather(*(each.say("cut") for each in stay))
                assert set(answers) == {"ok"}, "the links are whole"
                joined = time.monotonic()
                other = Member(mesh, "gateway-1", f"room:{next(_topics)}", 99)
                other.client = await mesh.client("gateway-1")
                other.reader = asyncio.create_task(other._read())
                status = await other.join()
                told(
                    f"{hurt}|proxy {way}, a join to a new topic is answered {status}",
                    time.monotonic() - joined,
                )
                assert status == ("error" if hurt == "gateway-1" else "ok")
                assert time.monotonic() - joined < 1.0 + MARGIN
                if hurt == "worker-1":
                    for worker in WORKERS:  # each half knows its own
                        half = [each for each in stay if each.worker == worker]
                        await until(lambda half=half: all(m.here() == everybody(half) for m in half))
                    told(f"{hurt}|proxy {way}, the other side has left", time.monotonic() - began)
                other.close()
            told(f"{hurt}|proxy {way}, whole after healing", await whole(mesh))
            await until(lambda: all(each.here() == everybody(stay) for each in stay))
            if hurt == "worker-1":
                said = sorted((each.key, "cut") for each in stay)
                await until(lambda: all(sorted(heard(each, "cut")) == said for each in stay))
            assert not any(each.crashes for each in stay)
            await all_hear_all_once(stay, "healed")
            await channels_are(mesh, stay)

    run(scenario())


def test_a_long_cut_is_over_soon_after_it_was_healed(mesh):
    # The kernel tries a connection after 1, 2, 4 and 8 seconds, and would now be about to wait for the last.
    with mesh.cut("gateway-1", "proxy-1", "both"):
        time.sleep(8.5)  # the cut itself: nothing to wait for
    took = asyncio.run(whole(mesh))
    told("gateway|proxy both, for 8.5 s, whole after healing", took)
    assert took < 5


@pytest.mark.parametrize(("hurt", "way"), [*(("gateway-1", way) for way in WAYS), ("worker-1", "both")])
def test_one_of_two_proxies_and_one_node_cut_costs_no_broadcast(mesh2, hurt, way):
    async def scenario():
        async with room(mesh2) as members:
            speakers = [next(m for m in members if m.worker == worker) for worker in WORKERS]
            spoken, ended = [], asyncio.Event()

            async def speak(member):
                for number in itertools.count():
                    if ended.is_set():
                        return
                    spoken.append((member.key, number))
                    assert await member.say(number) == "ok"
                    await asyncio.sleep(0.01)

            async with asyncio.TaskGroup() as group:
                for each in speakers:
                    group.create_task(speak(each))
                with mesh2.cut(hurt, "proxy-1", way):
                    joins = [Member(mesh2, "gateway-1", f"room:{next(_topics)}", n) for n in range(4)]
                    began = time.monotonic()
                    await asyncio.gather(*(each.open() for each in joins))
                    told(f"{hurt}|proxy of two {way}, joins answered", time.monotonic() - began)
                    for each in joins:
                        each.close()
                    goal = len(spoken) + 100
                    await until(lambda: len(spoken) > goal and time.monotonic() - began > CUT_SECONDS)
                    await until(lambda: not mesh2.wrong())  # the other proxy delivers
                await whole(mesh2)
                ended.set()
            for each in members:
                with contextlib.suppress(TimeoutError):
                    await until(lambda each=each: len(each.said) >= len(spoken))
                for speaker in speakers:
                    mine = [what for by, what in each.said if by == speaker.key]
                    assert mine == list(range(len(mine))), "once each, in order"
                assert len(each.said) == len(spoken)
            assert not any(each.crashes for each in members)
            assert all(each.here() == everybody(members) for each in members)

    run(scenario())


def test_a_proxy_that_is_cut_off_from_all_shows_everywhere_although_everything_else_looks_well(mesh):
    names = (*GATEWAYS, *WORKERS)
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mesh.cut(name, "proxy-1", "both"))
        until_sync(lambda: sorted(mesh.wrong()) == sorted(names))
        for name in names:
            assert mesh.network[name].get(mesh.admin[name], "/healthz")[0] == 200
            assert mesh.metric(name, "links") == 2
    mesh.wait_whole()


def test_a_gateway_that_shares_no_proxy_with_a_worker_is_not_ready_although_both_reach_one(mesh2):
    mesh2.wait_whole()
    with mesh2.cut("gateway-1", "proxy-1", "both"), mesh2.cut("worker-1", "proxy-2", "both"):
        said = until_sync(lambda: mesh2.wrong().get("gateway-1", {}).get("broadcasts"))
        assert "linked, but not heard on the bus: worker-" in said
        assert mesh2.metric("gateway-1", "links") == 2
    mesh2.wait_whole()
