"""Channels, embedded: the scenarios that the cluster tests run as well, and connecting."""

import asyncio

import pytest

from tests.support.scenarios import SCENARIOS
from tests.support.websocket import PhoenixClient, RawWebSocket, Refused, open_connection, run


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_embedded(apps, scenario):
    run(scenario(apps[1], apps[1]))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("connect=false", 403),
        ("connect=error", 403),
        ("connect=wrong", 403),
        ("connect=unpackable", 403),
        ("id=wrong", 403),
        ("connect=raise", 500),
        ("a=%ff", 400),
    ],
)
def test_connections_the_application_refuses(apps, query, status):
    async def scenario():
        with pytest.raises(Refused) as caught:
            await RawWebSocket.connect(f"{apps[1]}/socket/websocket?vsn=2.0.0&{query}")
        assert caught.value.status == status

    run(scenario())


def test_origins_are_checked_by_the_endpoints_own_list(apps):
    async def scenario():
        url = f"{apps[1]}/socket/websocket?vsn=2.0.0"
        for origin in ("http://allowed.example", "https://apex.example", "https://sub.apex.example:9"):
            (await RawWebSocket.connect(url, {"Origin": origin})).close()
        for origin in ("http://localhost", "http://evilapex.example", "null"):
            with pytest.raises(Refused) as caught:
                await RawWebSocket.connect(url, {"Origin": origin})
            assert caught.value.status == 403

    run(scenario())


def test_a_path_variable_becomes_a_parameter_and_wins(apps):
    async def scenario():
        url = f"{apps[1]}/tenants/acme/socket/websocket?vsn=2.0.0&tenant=other"
        client = PhoenixClient(await RawWebSocket.connect(url))
        await client.join("info:tenant")
        _, assigns = await client.push("info:tenant", "assign", {})
        assert assigns["params"] == {"tenant": "acme"}

    run(scenario())


def test_a_websocket_without_channels_is_an_http_handler_of_the_application(apps):
    async def scenario():
        socket = await RawWebSocket.connect(f"{apps[1]}/raw")
        socket.send_text("text")
        assert await socket.recv() == (1, b"text")
        socket.send_binary(b"\xff")
        assert await socket.recv() == (2, b"\xff")

    run(scenario())


def test_an_idle_client_is_closed_and_a_busy_one_is_not(impatient):
    async def scenario():
        idle, busy = await PhoenixClient.connect(impatient[1]), await PhoenixClient.connect(impatient[1])
        closed = asyncio.create_task(idle.socket.recv_close())
        while not closed.done():
            await busy.silent()
            await asyncio.sleep(0.05)
        assert await closed == 1002
        await busy.silent()

    run(scenario())


def test_a_flood_while_a_join_is_pending_is_read_after_it(apps):
    async def scenario():
        client = await PhoenixClient.connect(apps[1])
        join = client.ref()
        client.say(join, join, "slow:flood", "phx_join", {"seconds": 0.3})
        pad = "x" * 10_000
        refs = []
        for _ in range(300):  # three times the bound of what may wait
            refs.append(client.ref())
            client.say(join, refs[-1], "slow:flood", "echo", {"pad": pad})
        answers = [(await client.next())[1] for _ in range(301)]
        assert answers == [join, *refs]

    run(scenario())


def test_a_request_that_never_ends_is_cut_off(impatient):
    async def scenario():
        host, port = impatient[1].removeprefix("http://").split(":")
        for start in (b"", b"GET /socket/websocket HTTP/1.1\r\nHost: x\r\n"):
            reader, writer = await open_connection(host, int(port))
            writer.write(start)
            assert await RawWebSocket(reader, writer).eof()

    run(scenario())
