"""mesh.client while nodes die under it."""

import asyncio
import signal

import pytest

from mesh.client import Client, PushLost
from tests.support.pool import CONFORMANCE
from tests.support.processes import serve
from tests.support.until import PATIENCE, until
from tests.support.websocket import run

QUICK = {"reconnect_seconds": (0.05,), "rejoin_seconds": (0.05,)}


@pytest.fixture
def running(clusters):
    return clusters.one_gateway()[0]


@pytest.fixture(params=["websocket", "zeromq"])
def address(clusters, request):
    running, zeromq = clusters.one_gateway()
    return zeromq if request.param == "zeromq" else running.urls[0].replace("http", "ws") + "/socket"


async def alive(room):
    """The channel answers, and hears broadcasts."""
    assert await room.push("echo", {"a": 1}) == {"a": 1}
    await room.cast("new_msg", {"again": True})
    async with asyncio.timeout(PATIENCE):
        async for event, payload in room:
            if (event, payload) == ("new_msg", {"again": True}):
                return


def test_channels_of_a_killed_worker_are_joined_again_on_another(running, address):
    async def scenario():
        links = running.log().count("linked to worker")
        async with Client(address, **QUICK) as client:
            rooms = [await client.join(f"room:{number}") for number in range(24)]
            lost = []
            for room in rooms:
                room.on_state(lambda state, reason: lost.append(reason) if state == "errored" else None)
            old = running.kill("workers", 0)
            await until(lambda: lost)
            for room in rooms:
                await alive(room)
            assert client.connected
            assert 0 < len(lost) < len(rooms)
            await asyncio.to_thread(running.wait_restarted, "workers", 0, old)
            await asyncio.to_thread(running.wait_linked, links + 1)

    run(scenario())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, 1006), (signal.SIGTERM, 1012)], ids=["killed", "drained"]
)
def test_a_client_comes_back_to_a_gateway_that_started_again(running, address, number, code):
    async def scenario():
        asked, codes, opened = [], [], []
        async with Client(address, params=lambda: asked.append(1) or {}, **QUICK) as client:
            client.on_close(lambda code, reason: codes.append(code))
            client.on_open(lambda: opened.append(1))
            room = await client.join("room:gateway")
            waiting = asyncio.ensure_future(room.push("noreply", {}))
            await room.push("echo", {})
            old = running.kill("gateways", 0, number)
            with pytest.raises(PushLost):
                await waiting
            assert codes == [code]
            buffered = asyncio.ensure_future(
                room.push("echo", {"buffered": True}, timeout_seconds=PATIENCE)
            )
            await asyncio.to_thread(running.wait_restarted, "gateways", 0, old)
            await until(lambda: opened)
            await until(lambda: room.state == "joined")
            assert await buffered == {"buffered": True}
            await alive(room)
            assert len(asked) >= 2

    run(scenario())


def test_a_client_may_start_before_its_server(tmp_path):
    async def scenario():
        bind = f"ipc://{tmp_path}/clients"
        errors = []
        client = Client(bind, wait_for_server=True, **QUICK)
        client.on_error(lambda error: errors.append(str(error)))
        entering = asyncio.ensure_future(client.__aenter__())
        await until(lambda: len(errors) >= 2)
        assert "cannot be reached" in errors[0]
        env = {"MESH_ZEROMQ__BIND": bind}
        running = serve(tmp_path, CONFORMANCE, env=env)
        await asyncio.to_thread(running.__enter__)
        try:
            await asyncio.wait_for(entering, PATIENCE)
            await alive(await client.join("room:1"))
            await client.aclose()
        finally:
            await asyncio.to_thread(running.__exit__, None, None, None)

    run(scenario())
