"""nodes/cluster/readiness.py: what is missing, in words, and a proxy that comes later."""

import asyncio
import socket
import threading

import pytest

from mesh.bus.discovery.placement import Announcement
from mesh.errors import NodeError
from mesh.nodes.cluster.readiness import GatewayStatus, _query, missing, wait_until_ready
from tests.support.proxy import free_address, proxy

PROXIES = ["tcp://127.0.0.1:5510", "tcp://127.0.0.1:5520"]
URLS = ("http://127.0.0.1:4001", "http://127.0.0.1:4002")


def gateway(name, url, proxies=tuple(PROXIES)):
    return Announcement(node=name, kind="gateway", urls=(url,), proxies=proxies)


def worker(name, proxies=tuple(PROXIES)):
    return Announcement(node=name, kind="worker", proxies=proxies)


BOTH = [gateway("g1", URLS[0]), gateway("g2", URLS[1])]
WHOLE = {URLS[0]: GatewayStatus("g1", None), URLS[1]: GatewayStatus("g2", None)}


@pytest.mark.parametrize(
    ("found", "asked", "workers", "said"),
    [
        ([*BOTH, worker("w1")], WHOLE, 1, []),
        ([*BOTH, worker("w1")], WHOLE, 2, ["1 of 2 workers are up"]),
        ([*BOTH, worker("w1"), worker("w2")], WHOLE, 1, ["2 workers are up, but --workers is 1"]),
        (
            [*BOTH, worker("w1")],
            {URLS[0]: WHOLE[URLS[0]]},
            1,
            ["g2 at http://127.0.0.1:4002 is not listed with --gateway"],
        ),
        (
            [*BOTH, worker("w1", (PROXIES[1],))],
            WHOLE,
            1,
            ["w1 is not connected to tcp://127.0.0.1:5510"],
        ),
        (
            [BOTH[0], worker("w1")],
            WHOLE,
            1,
            ["http://127.0.0.1:4002 (g2) has not announced itself on the bus"],
        ),
        (
            [*BOTH, worker("w1")],
            {**WHOLE, URLS[1]: GatewayStatus("g2", "not ready: no worker for room:*")},
            1,
            ["http://127.0.0.1:4002: not ready: no worker for room:*"],
        ),
        (
            [*BOTH, worker("w1")],
            {**WHOLE, URLS[1]: GatewayStatus(None, "does not answer (refused)")},
            1,
            ["http://127.0.0.1:4002: does not answer (refused)"],
        ),
    ],
)
def test_what_is_missing_is_said(found, asked, workers, said):
    assert missing(found, asked, PROXIES, workers) == said


@pytest.mark.parametrize("seconds", [0.1, 3.0])
def test_a_proxy_that_is_not_there_is_waited_for_and_named(seconds):
    """Also if the time is over before the first try is."""
    address = free_address()
    with pytest.raises(NodeError, match=rf"not ready after {seconds:g} seconds.*{address}"):
        asyncio.run(wait_until_ready([address], [], 0, seconds))


def test_a_proxy_that_comes_later_than_one_try_is_found():
    async def scenario():
        address = free_address()
        waiting = asyncio.create_task(wait_until_ready([address], [], 0, 45.0))
        done, _ = await asyncio.wait([waiting], timeout=6.0)
        assert not done
        async with proxy(address):
            await waiting

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\x00\xff garbage\r\n\r\n", "does not answer"),
        (b"SSH-2.0-OpenSSH_9\r\n", "does not answer"),
        (b"", "does not answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "does not answer"),
        (b"HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not ready: 503"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 9000\r\n\r\n{", "not ready: 503"),
        (b"HTTP/1.1 503 No\r\n\r\n" + 300 * b"[", "not ready: 503"),
    ],
)
def test_whatever_answers_is_waited_for(answer, said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            peer, _ = server.accept()
            with peer:
                peer.recv(65_536)
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        asked = _query(f"http://127.0.0.1:{server.getsockname()[1]}")
        thread.join()
    assert asked.node is None
    assert said in asked.problem


def test_what_is_no_url_is_said():
    for url in ("nonsense", "http://[::1", "http://127.0.0.1:x", "http://a b", "http://127.0.0.1:99999"):
        assert "does not answer" in _query(url).problem
