"""gateway/transports/websocket/upgrades.py: what becomes of a connection whose upgrade fails."""

import asyncio
import gc
import re
import socket
from types import SimpleNamespace

from mesh.gateway.transports.admission import Admitted, RefusedError
from mesh.gateway.transports.websocket.upgrades import Upgrades
from mesh.protocol.serializers.registry import BY_NAME
from tests.support.until import until

REQUEST = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class WebSockets:
    """Takes over no client."""

    hub = SimpleNamespace()

    def take_over(self, *_):
        raise RuntimeError("a defect")


def offered(connect):
    """What a client receives whose `connect` is this coroutine, and the connections answered with a refusal."""

    async def scenario():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: defects.append(context))
        handshake = SimpleNamespace(
            path=re.compile("/socket/websocket"),
            mount=SimpleNamespace(path="/socket"),
            run=lambda request, peer: connect(),
        )
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            server, _ = listener.accept()
        with client:
            client.settimeout(60)
            server.setblocking(False)
            client.sendall(REQUEST)
            assert Upgrades(WebSockets(), [handshake]).offer(
                server, None, REQUEST, lambda sock, peer: answered.append(sock)
            )
            await until(lambda: answered or server.fileno() == -1)
            for each in answered:
                each.close()
            received = b""
            while data := client.recv(4_096):
                received += data
            return received

    defects, answered = [], []
    received = asyncio.run(scenario())
    gc.collect()
    return received, answered, defects


def test_a_client_that_is_refused_is_answered_and_may_ask_again():
    async def connect():
        raise RefusedError(403)

    received, answered, _ = offered(connect)
    assert received.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert len(answered) == 1


def test_after_the_upgrade_is_answered_a_defect_ends_the_connection_without_a_second_answer():
    async def connect():
        return Admitted(BY_NAME["v2_json"], None, b"\x80", None)

    received, answered, defects = offered(connect)
    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.count(b"HTTP/1.1") == 1
    assert answered == []
    assert "a defect" in str(defects)
