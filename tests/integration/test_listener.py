"""gateway/http/listener.py: regular upgrades are answered without Tornado, on the same port."""

import asyncio
import os
import resource
import socket

import pytest

from tests.support.processes import serve
from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient, RawWebSocket, run

CONFORMANCE = "examples.conformance:endpoint"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def request(path, headers=UPGRADE):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode()


async def connect(url):
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def answer(reader):
    """(status, body) of one response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = next(
        (line for line in head.lower().split("\r\n") if line.startswith("content-length:")), ": 0"
    )
    return int(head.split()[1]), await reader.readexactly(int(length.split(":")[1]))


def test_a_refused_client_may_ask_again_on_the_same_connection(tmp_path):
    with serve(tmp_path, CONFORMANCE) as (_, url):

        async def scenario():
            reader, writer = await connect(url)
            for _ in range(
                2
            ):  # the first without Tornado, the second by Tornado, which has the connection by then
                writer.write(request("/socket/websocket?vsn=2.0.0&token=bad"))
                assert await answer(reader) == (403, b"")
            writer.write(request("/socket/websocket?vsn=2.0.0"))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.close()

        run(scenario())


def test_a_request_that_comes_byte_by_byte_is_answered_all_the_same(tmp_path):
    with serve(tmp_path, CONFORMANCE) as (_, url):

        async def scenario():
            reader, writer = await connect(url)
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request("/socket/websocket?vsn=2.0.0"):
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.close()

        run(scenario())


def test_messages_that_come_with_the_request_are_not_lost(tmp_path):
    with serve(tmp_path, CONFORMANCE) as (_, url):

        async def scenario():
            reader, writer = await connect(url)
            heartbeat = b'[null,"1","phoenix","heartbeat",{}]'
            frame = bytes((0x81, 0x80 | len(heartbeat), 0, 0, 0, 0)) + heartbeat
            writer.write(request("/socket/websocket?vsn=2.0.0") + frame)
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            first, length = await reader.readexactly(2)
            assert first == 0x81
            assert b'"phx_reply"' in await reader.readexactly(length)
            writer.close()

        run(scenario())


def test_who_says_nothing_is_hung_up_on_and_others_get_in(tmp_path):
    env = {"MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "2"}
    with serve(tmp_path, CONFORMANCE, env=env) as (_, url):

        async def scenario():
            silent = [await connect(url) for _ in range(20)]
            client = await PhoenixClient.connect(url)
            for reader, writer in silent:
                assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
                writer.close()
            assert (await client.join("room:1"))[0] == "ok"
            client.close()

        run(scenario())


def test_path_variables_arrive_by_either_way(tmp_path):
    with serve(tmp_path, "tests.support.apps:endpoint") as (_, url):

        async def scenario():
            for written, meant in (("acme", "acme"), ("a%20c", "a c")):  # read without Tornado, and by it
                socket = await RawWebSocket.connect(f"{url}/tenants/{written}/socket/websocket?vsn=2.0.0")
                client = PhoenixClient(socket)
                await client.join("info:tenant")
                assigns = (await client.push("info:tenant", "assign", {}))[1]
                assert assigns["params"]["tenant"] == meant
                client.close()

        run(scenario())


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux")
def test_without_a_free_descriptor_clients_wait_and_get_in_when_there_is_one(tmp_path):
    with serve(tmp_path, CONFORMANCE) as (process, url):
        pid = process.popen.pid

        async def scenario():
            first = await PhoenixClient.connect(url)
            await first.join("room:0")  # gateway and worker have found each other
            used = len(os.listdir(f"/proc/{pid}/fd"))
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
            reader, writer = await connect(url)
            writer.write(request("/socket/websocket?vsn=2.0.0"))
            await asyncio.to_thread(process.wait_for, "connections cannot be accepted at the moment")
            assert (await first.join("room:1"))[0] == "ok", "the others do not notice"
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 50, hard))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            writer.close()
            first.close()

        run(scenario())
