"""What clients have sent before a gateway stops is answered; RFC 9112 §9.6, RFC 6455 §7.4.1."""

import asyncio
import os
import signal
from urllib.parse import urlsplit

from tests.support.longpoll import LongPoll, read_answer
from tests.support.processes import serve
from tests.support.until import PATIENCE, until
from tests.support.websocket import open_connection, run

APP = "examples.conformance:endpoint"
UPGRADE = (
    "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
)


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def connect(url):
    parts = urlsplit(url)
    return await open_connection(parts.hostname, parts.port)


async def ask(url, request):
    """A request on a new connection; returns its reader."""
    reader, writer = await connect(url)
    writer.write(request)
    return reader


async def exchange(connection, path):
    reader, writer = connection
    writer.write(get(path))
    return await read_answer(reader)


def test_requests_that_have_come_are_answered_and_their_connections_closed(tmp_path):
    """They come while the process stands still, so that it hears of them and of the signal at once."""
    with serve(tmp_path, APP) as (process, url):

        async def scenario():
            session = await LongPoll([url]).open()
            idle, used, silent = await connect(url), await connect(url), await connect(url)
            for connection in (idle, used):
                assert (await exchange(connection, "/unknown")).status == 404
            os.kill(process.pid, signal.SIGSTOP)
            used[1].write(get(session.path()))
            polled = await ask(url, get(session.path()))
            upgraded = await ask(url, UPGRADE.encode())
            many = [await ask(url, get("/unknown")) for _ in range(40)]
            os.kill(process.pid, signal.SIGTERM)
            os.kill(process.pid, signal.SIGCONT)
            for reader in (used[0], polled):
                answer = await read_answer(reader)
                assert answer.json == {"status": 500}
                assert answer.headers["connection"] == "close"
                assert await reader.read() == b""
            assert (await upgraded.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await upgraded.read() == b"\x88\x02\x03\xf4", "close code 1012"
            for reader in many:
                assert (await read_answer(reader)).status == 404
                assert await reader.read() == b""
            for reader in (idle[0], silent[0]):
                assert await reader.read() == b""

        run(scenario())
        assert process.popen.wait(PATIENCE) == 0, process.log()


def test_a_request_whose_body_is_under_way_is_answered(tmp_path):
    with serve(tmp_path, APP) as (process, url):

        async def scenario():
            session = await LongPoll([url]).open()
            reader, writer = await connect(url)
            body = b'["1", "1", "room:stop", "phx_join", {}]'
            head = f"POST {session.path()} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
            head += f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
            os.kill(process.pid, signal.SIGSTOP)
            writer.write(body)
            os.kill(process.pid, signal.SIGTERM)
            os.kill(process.pid, signal.SIGCONT)
            status = (await read_answer(reader)).json["status"]
            assert status in (200, 410), "410: the session has ended before the body is read"
            assert await reader.read() == b""

        run(scenario())
        assert process.popen.wait(PATIENCE) == 0, process.log()


def test_a_gateway_that_stood_still_answers_requests_that_came_meanwhile(tmp_path):
    """Longer than the time-outs of a connection that says nothing; a silent one is closed by them."""
    env = {"MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "1", "MESH_GATEWAY__KEEPALIVE_SECONDS": "2"}
    with serve(tmp_path, APP, env=env) as (process, url):

        async def scenario():
            loop = asyncio.get_running_loop()
            while True:
                used, new, begun = await connect(url), await connect(url), await connect(url)
                begun[1].write(b"GET ")
                began = loop.time()
                assert (await exchange(used, "/unknown")).status == 404
                os.kill(process.pid, signal.SIGSTOP)
                if loop.time() - began < 0.5:
                    break
                os.kill(process.pid, signal.SIGCONT)
            try:
                used[1].write(get("/unknown"))
                new[1].write(get("/unknown"))
                begun[1].write(get("/unknown")[4:])
                await until(lambda: loop.time() - began > 3)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            for reader, _ in (used, new, begun):
                assert (await read_answer(reader)).status == 404
            for reader, _ in (used, new, begun):
                assert await reader.read() == b"", "and silence ends it"

        run(scenario())
