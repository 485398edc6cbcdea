"""Who sends faster than it can be handled is made to wait; memory stays bounded, nothing is lost."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl

import pytest

import mesh as channelmesh
from tests.support.longpoll import LongPoll
from tests.support.pressure import (
    APP,
    CHUNK,
    FLOOD,
    SETTINGS,
    flood,
    gate,
    mesh_of,
    metric,
    paused,
    replies,
)
from tests.support.processes import node, rss
from tests.support.relay import certificate
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, RawWebSocket, run


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    with mesh_of(tmp_path_factory.mktemp("mesh")) as running:
        yield running


def test_a_flood_at_a_slow_channel_waits_in_its_client_and_hurts_nobody(mesh):
    async def scenario():
        async with gate(mesh) as other:
            flooder = await PhoenixClient.connect(mesh.url)
            await flooder.join("gated:1")
            before = rss(mesh.worker.pid), rss(mesh.gateway.pid)
            pauses = metric(mesh.gateway, "readers_paused_total")
            sending = asyncio.create_task(flood(flooder, "gated:1", "work"))
            await until(lambda: paused(mesh) == 1)
            assert metric(mesh.gateway, "readers_paused_total") > pauses
            for number in range(100):  # others of the same worker and gateway
                assert await other.push("gate:1", "echo", {"n": number}) == ("ok", {"n": number})
            assert not sending.done(), "the client must feel it"
            assert metric(mesh.worker, "mailbox_bytes") < 10_000_000
            assert rss(mesh.worker.pid) - before[0] < 40_000_000
            assert rss(mesh.gateway.pid) - before[1] < 40_000_000
            await other.push("gate:1", "open")
            assert await replies(flooder, FLOOD) == list(range(FLOOD))
            await sending
            await until(lambda: paused(mesh) == 0)
        assert metric(mesh.worker, "mailboxes_overflowed_total") == 0

    run(scenario())


def test_many_small_messages_wait_as_well(mesh):
    async def scenario():
        async with gate(mesh) as other:
            flooder = await PhoenixClient.connect(mesh.url)
            await flooder.join("gated:1")
            count, enough = 20_000, 2_000  # enough for a pause, however late the worker reads them

            async def small(numbers):
                for number in numbers:
                    flooder.cast("gated:1", "work", {"n": number})
                    if not number % 100:
                        await flooder.socket.writer.drain()

            await small(range(enough))
            await until(lambda: paused(mesh) == 1)
            sending = asyncio.create_task(small(range(enough, count)))
            for number in range(100):
                assert await other.push("gate:1", "echo", {"n": number}) == ("ok", {"n": number})
            assert metric(mesh.worker, "mailbox_messages") < 10_000
            await other.push("gate:1", "open")
            assert await replies(flooder, count) == list(range(count))
            await sending

    run(scenario())


def test_a_client_that_goes_while_it_is_paused_leaves_nothing(mesh):
    async def scenario():
        async with gate(mesh) as other:
            flooder = await PhoenixClient.connect(mesh.url)
            await flooder.join("gated:1")
            sending = asyncio.create_task(flood(flooder, "gated:1", "work"))
            await until(lambda: paused(mesh) == 1)
            sending.cancel()
            flooder.socket.abort()
            await other.push("gate:1", "open")
            await until(lambda: paused(mesh) == 0)
            await until(lambda: metric(mesh.worker, "open_channels") == 1)
            assert await other.push("gate:1", "echo", {"n": 1}) == ("ok", {"n": 1})

    run(scenario())


def test_a_longpoll_client_is_answered_when_there_is_room_again(mesh):
    async def scenario():
        async with gate(mesh) as other:
            client = LongPoll([mesh.url])
            await client.open()
            await client.post(json.dumps(["1", "1", "gated:1", "phx_join", {}]))
            await client.poll()
            pushes = [
                ["1", str(number), "gated:1", "work", {"n": number, "data": CHUNK}] for number in range(60)
            ]
            lines = "\n".join(map(json.dumps, pushes))
            assert await client.post(lines) == {"status": 200}
            await until(lambda: paused(mesh) == 1)
            second = asyncio.create_task(client.post(lines))
            done, _ = await asyncio.wait([second], timeout=0.3)
            assert not done
            await other.push("gate:1", "open")
            assert await second == {"status": 200}

    run(scenario())


def test_a_busy_worker_pauses_those_who_push_to_it(mesh):
    """Its event loop stands still: what is pushed waits before it, in bounded queues."""

    async def scenario():
        client = await PhoenixClient.connect(mesh.url)
        await client.join("busy:1")
        before = metric(mesh.worker, "links_given_up_total"), metric(mesh.gateway, "links_given_up_total")
        rss_before = rss(mesh.gateway.pid)
        sending = asyncio.create_task(flood(client, "busy:1", "work", count=2 * FLOOD, seconds=0.005))
        reading = asyncio.create_task(replies(client, 2 * FLOOD))
        peak = 0
        while not reading.done():
            peak = max(peak, rss(mesh.gateway.pid))
            await asyncio.wait([reading], timeout=0.05)
        assert await reading == list(range(2 * FLOOD))
        await sending
        assert peak - rss_before < 80_000_000
        after = metric(mesh.worker, "links_given_up_total"), metric(mesh.gateway, "links_given_up_total")
        assert after == before
        client.close()

    run(scenario())


async def reader_and_writer(mesh, topic):
    reader, writer = await PhoenixClient.connect(mesh.url), await PhoenixClient.connect(mesh.url)
    for client in (reader, writer):
        assert (await client.join(topic))[0] == "ok"
    reader.socket.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 50_000)
    return reader, writer


def test_publishers_wait_for_a_reader_that_stops_and_goes_on(mesh):
    async def scenario():
        reader, writer = await reader_and_writer(mesh, "paced:1")
        closed = metric(mesh.gateway, "slow_clients_closed_total")
        reader.socket.writer.transport.pause_reading()
        sending = asyncio.create_task(flood(writer, "paced:1", "say", count=2 * FLOOD))
        await until(lambda: metric(mesh.worker, "topics_held") == 1)
        await until(lambda: paused(mesh) == 1)
        assert not sending.done(), "the publisher must feel it"
        reader.socket.writer.transport.resume_reading()
        for number in range(2 * FLOOD):
            assert (await reader.event("said"))[4]["n"] == number
        await sending
        await until(lambda: metric(mesh.worker, "topics_held") == 0)
        await until(lambda: paused(mesh) == 0)
        assert metric(mesh.gateway, "slow_clients_closed_total") == closed
        assert metric(mesh.gateway, "topics_paused_total") > 0

    run(scenario())


def test_a_reader_that_never_reads_again_is_closed_and_publishers_go_on(tmp_path):
    async def scenario(mesh):
        reader, writer = await reader_and_writer(mesh, "paced:2")
        other = await PhoenixClient.connect(mesh.url)
        await other.join("paced:2")
        closed = metric(mesh.gateway, "slow_clients_closed_total")
        reader.socket.writer.transport.pause_reading()
        sending = asyncio.create_task(flood(writer, "paced:2", "say"))
        for number in range(FLOOD):
            assert (await other.event("said"))[4]["n"] == number
        await sending
        await until(lambda: metric(mesh.gateway, "slow_clients_closed_total") == closed + 1)
        await until(lambda: metric(mesh.worker, "topics_held") == 0)
        reader.socket.abort()

    with mesh_of(tmp_path, {"MESH_GATEWAY__PAUSE_PUBLISHER_SECONDS": "8"}) as mesh:
        run(scenario(mesh))


def test_what_a_writer_said_before_it_left_is_said(mesh):
    """A pause of the topic holds pushes only: a leave, and what came before it, are handled."""

    async def scenario():
        reader, writer = await reader_and_writer(mesh, "paced:3")
        quick = await PhoenixClient.connect(mesh.url)
        await quick.join("paced:3")
        reader.socket.writer.transport.pause_reading()
        sending = asyncio.create_task(flood(writer, "paced:3", "say"))
        await until(lambda: metric(mesh.worker, "topics_held") == 1)
        for number in range(5):
            quick.cast("paced:3", "say", {"n": 10_000 + number})
        left = quick.cast("paced:3", "phx_leave")
        assert (await quick.answer(left))[0] == "ok"
        reader.socket.writer.transport.resume_reading()
        said = [(await reader.event("said"))[4]["n"] for _ in range(FLOOD + 5)]
        assert [each for each in said if each >= 10_000] == [10_000 + number for number in range(5)]
        assert [each for each in said if each < 10_000] == list(range(FLOOD))
        await sending

    run(scenario())


def test_a_tls_client_is_not_read_from_either(tmp_path):
    cert, key = certificate(tmp_path)
    env = {"MESH_GATEWAY__TLS_CERTIFICATE": str(cert), "MESH_GATEWAY__TLS_KEY": str(key)}

    async def scenario(mesh, port):
        context = ssl.create_default_context(cafile=cert)
        reader, stream = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        client = PhoenixClient(await _upgrade(reader, stream, port))
        await client.join("gate:1")
        await client.join("gated:1")
        await client.push("gate:1", "shut")
        sending = asyncio.create_task(flood(client, "gated:1", "work"))
        await until(lambda: paused(mesh) == 1)
        assert metric(mesh.worker, "mailbox_bytes") < 10_000_000
        assert not sending.done()
        sending.cancel()
        stream.transport.abort()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await stream.wait_closed()

    with mesh_of(tmp_path, env) as mesh:
        port = int(mesh.gateway.wait_for(r"https://[^\s:]+:(\d+)")[1])
        run(scenario(mesh, port))


async def _upgrade(reader, writer, port):
    lines = [
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1", f"Host: localhost:{port}", "Connection: Upgrade",
        "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13",
    ]  # fmt: skip
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert b" 101 " in (await reader.readuntil(b"\r\n\r\n"))
    return RawWebSocket(reader, writer)


def test_a_worker_makes_no_more_for_a_gateway_that_does_not_take_it(tmp_path):
    """A gateway stands still; its channels' pushes wait, and are answered when it goes on."""
    patient = {
        "MESH_LINK__HEARTBEAT_TIMEOUT_SECONDS": "60",
        "MESH_LINK__PAUSE_BYTES": "3000000",
        "MESH_GATEWAY__MAX_UNSENT_BYTES": "200000000",  # the subject is the link, not its clients
    }
    count = 200

    async def scenario(mesh, other):
        helper = await PhoenixClient.connect(other)
        await helper.join("gate:1")
        client = await PhoenixClient.connect(mesh.url)
        await client.join("gated:1")
        before = rss(mesh.worker.pid)
        for number in range(count):
            client.cast("gated:1", "work", {"n": number, "size": 500_000})
        await until(lambda: metric(mesh.worker, "mailbox_messages") == count - 1)
        os.kill(mesh.gateway.pid, signal.SIGSTOP)
        try:
            await helper.push("gate:1", "open")
            await until(lambda: metric(mesh.worker, "link_queue_bytes") > 3_000_000)
            for number in range(50):  # its other gateway's channels
                assert await helper.push("gate:1", "echo", {"n": number}) == ("ok", {"n": number})
            assert metric(mesh.worker, "mailbox_messages") > count // 2
            assert rss(mesh.worker.pid) - before < 60_000_000
        finally:
            os.kill(mesh.gateway.pid, signal.SIGCONT)
        assert await replies(client, count) == list(range(count))
        assert metric(mesh.worker, "links_given_up_total") == 0

    with mesh_of(tmp_path, patient) as mesh:
        proxy, env = f"ipc://{tmp_path}/p", {**SETTINGS, **patient}
        with node(tmp_path, "gateway", APP, "--port", "0", "--proxy", proxy, env=env) as other:
            run(scenario(mesh, other.wait_for(r"listening\s+(\S+)")[1]))


FROZEN = {
    "MESH_BUS__HIGH_WATER_MARK": "200",
    "MESH_BUS__HEARTBEAT_SECONDS": "0.3",
    "MESH_BUS__HEARTBEAT_TIMEOUT_SECONDS": "4",
    "MESH_LINK__HEARTBEAT_SECONDS": "0.3",
    "MESH_LINK__HEARTBEAT_TIMEOUT_SECONDS": "3",
}


def test_a_gateway_frozen_under_a_flood_is_cut_off_and_its_clients_are_told(tmp_path):
    """Nothing is dropped silently: the others get every broadcast, its own clients get phx_error."""

    async def scenario(frozen, other, proxy):
        lost, reader = await PhoenixClient.connect(frozen.url), await PhoenixClient.connect(other)
        for client in (lost, reader):
            assert (await client.join("gate:1"))[0] == "ok"
        os.kill(frozen.gateway.pid, signal.SIGSTOP)
        try:
            async with channelmesh.connect(proxy, timeout_seconds=PATIENCE) as program:
                reading = asyncio.create_task(numbers(reader, 3_000))
                for number in range(3_000):
                    await program.broadcast("gate:1", "n", {"n": number, "data": CHUNK[:10_000]})
                assert await reading == list(range(3_000))
            await until(lambda: metric(frozen.worker, "links") == 1)
        finally:
            os.kill(frozen.gateway.pid, signal.SIGCONT)
        await lost.event("phx_error")
        await until(lambda: metric(frozen.gateway, "bus_interruptions_total") >= 1)
        await until(lambda: metric(frozen.gateway, "links") == 1)
        assert (await lost.join("gate:1"))[0] == "ok"
        assert (await lost.push("gate:1", "echo", {"n": 1})) == ("ok", {"n": 1})

    with mesh_of(tmp_path, FROZEN) as frozen:
        proxy = f"ipc://{tmp_path}/p"
        env = {**SETTINGS, **FROZEN}
        with node(tmp_path, "gateway", APP, "--port", "0", "--proxy", proxy, env=env) as other:
            run(scenario(frozen, other.wait_for(r"listening\s+(\S+)")[1], proxy))


async def numbers(client, count):
    return [(await client.event("n"))[4]["n"] for _ in range(count)]
