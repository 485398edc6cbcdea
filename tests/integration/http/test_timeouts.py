"""How long a connection may be idle, and a request incomplete."""

import asyncio

import pytest

from tests.integration.http.requests import APP, UPGRADE
from tests.support.processes import serve
from tests.support.raw_http import RawHTTP
from tests.support.websocket import run


@pytest.fixture(scope="module")
def impatient_url(tmp_path_factory):
    """A server that waits 2 seconds for a request that has begun, and longer for one that has not."""
    env = {"MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "2", "MESH_GATEWAY__KEEPALIVE_SECONDS": "6"}
    with serve(tmp_path_factory.mktemp("serve"), APP, env=env) as (_, address):
        yield address


def test_an_idle_connection_outlives_the_handshake_timeout(impatient_url):
    async def answered():
        connection = await RawHTTP.connect(impatient_url)
        loop = asyncio.get_running_loop()
        for target in ("/healthz", "/socket/longpoll?vsn=2.0.0", "/healthz"):
            connection.request(target)
            assert (await connection.answer()).status == 200
            idle_since = loop.time()
            await asyncio.sleep(3)  # beyond handshake_timeout_seconds, within keepalive_seconds
        assert await connection.ended()
        assert loop.time() - idle_since >= 5.5
        connection.close()

    async def upgrade_refused():
        refused = await RawHTTP.connect(impatient_url)
        refused.request("/socket/websocket?vsn=9.0.0", headers=UPGRADE)  # answered by the short way
        assert (await refused.answer()).status == 403
        await asyncio.sleep(3)
        refused.request("/healthz")
        assert (await refused.answer()).status == 200
        refused.close()

    async def scenario():
        await asyncio.gather(answered(), upgrade_refused())

    run(scenario())


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n",
        b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_a_request_that_stalls_is_answered_408(impatient_url, begun):
    async def stall(first):
        connection = await RawHTTP.connect(impatient_url)
        connection.send(first + begun)
        if first:
            assert (await connection.answer()).status == 200
        answer = await connection.answer()
        assert (answer.status, b"handshake_timeout_seconds" in answer.body) == (408, True)
        assert await connection.ended()
        connection.close()

    async def scenario():
        await asyncio.gather(stall(b""), stall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"))

    run(scenario())


def test_a_request_that_trickles_in_is_answered_408(impatient_url):
    async def scenario():
        connection = await RawHTTP.connect(impatient_url)
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")

        async def trickle():
            while not connection.writer.is_closing():
                connection.send(b"a")
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        assert (await connection.answer()).status == 408
        trickling.cancel()
        connection.close()

    run(scenario())
