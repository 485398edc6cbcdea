"""The network between hosts fails, one way or both, without a word: found within bounds, right again after.

Every node and the clients are on hosts of their own (tests/support/namespaces.py), and therefore have keys.
"""

import asyncio
import contextlib
import itertools
import time

import pytest

from tests.support.cuts import (
    BEAT,
    GATEWAYS,
    MARGIN,
    SILENCE,
    WORKERS,
    Member,
    Mesh,
    all_hear_all_once,
    channels_are,
    everybody,
    heard,
    room,
    topics,
    whole,
)
from tests.support.namespaces import missing
from tests.support.until import until, until_sync
from tests.support.websocket import run

CUT_SECONDS = 4.0
"""Until every connection that was cut has ended: what was in it is lost then."""
WAYS = ["there", "back", "both"]


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


def told(what, seconds):
    print(f"measured: {what}: {seconds:.2f} s")


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
                other = Member(mesh, "gateway-1", next(topics), 99)
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
                    joins = [Member(mesh2, "gateway-1", next(topics), n) for n in range(4)]
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
    mesh.wait_until_ready()


def test_a_gateway_that_shares_no_proxy_with_a_worker_is_not_ready_although_both_reach_one(mesh2):
    mesh2.wait_until_ready()
    with mesh2.cut("gateway-1", "proxy-1", "both"), mesh2.cut("worker-1", "proxy-2", "both"):
        said = until_sync(lambda: mesh2.wrong().get("gateway-1", {}).get("broadcasts"))
        assert "linked, but not heard on the bus: worker-" in said
        assert mesh2.metric("gateway-1", "links") == 2
    mesh2.wait_until_ready()


# The last test: for half a minute after these cuts, gateway-1 sends new topics to the other worker.
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
