"""WebSocket upgrades without Tornado, for requests in the form that clients normally send.

Tornado's request handling was most of the cost of connecting and joining (docs/performance.md). Irregular
requests are left to Tornado (gateway/http/upgrade_request.py).
"""

import asyncio
import socket
from collections.abc import Awaitable, Coroutine, Sequence
from email.utils import formatdate
from typing import Any

from mesh.gateway.http import upgrade_request
from mesh.gateway.http.forwarded import Peer
from mesh.gateway.http.listener import Answered
from mesh.gateway.http.server import reason_phrase
from mesh.gateway.http.upgrade_request import UpgradeRequest
from mesh.gateway.transports.admission import Admitted, RefusedError
from mesh.gateway.transports.client_connection import ClientGoneError, id_subscribed
from mesh.gateway.transports.handshake import Handshake
from mesh.gateway.transports.websocket import upgrade
from mesh.gateway.transports.websocket.handler import UpgradeServer
from mesh.telemetry import counters


class Upgrades:
    """Upgrades regular requests. Implements the listener's Shortcut.

    Args:
        websockets: takes over admitted clients.
        handshakes: the handshakes of the mounts that offer WebSocket, in order.
    """

    def __init__(self, websockets: UpgradeServer, handshakes: Sequence[Handshake]) -> None:
        self._websockets = websockets
        self._handshakes = handshakes
        self._tasks: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Cancel the handshakes in progress."""
        for task in self._tasks:
            task.cancel()

    def offer(self, sock: socket.socket, peer: Peer | None, head: bytes, on_answered: Answered) -> bool:
        """Take over a regular upgrade request for one of the mounts; return whether it is one."""
        request = upgrade_request.parse(head)
        handshake = self._find(request) if request is not None else None
        if request is None or handshake is None or upgrade.problem(request.headers) is not None:
            return False
        sock.recv(len(head))
        try:
            answer = handshake.run(request, peer)
        except RefusedError as refused:
            _refuse(sock, peer, refused, on_answered)
            return True
        if isinstance(answer, Awaitable) or answer.socket_id is not None:
            self._start_task(self._admit(sock, peer, request, handshake, answer, on_answered))
            return True
        try:
            self._accept(sock, request, handshake, answer)
        except ClientGoneError:
            sock.close()
        return True

    def _find(self, request: UpgradeRequest) -> Handshake | None:
        return next((each for each in self._handshakes if each.path.fullmatch(request.path)), None)

    def _start_task(self, admission: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(admission, name="handshake")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _admit(
        self,
        sock: socket.socket,
        peer: Peer | None,
        request: UpgradeRequest,
        handshake: Handshake,
        answer: Admitted | Awaitable[Admitted],
        on_answered: Answered,
    ) -> None:
        """Admit a client whose `connect` must be awaited, or whose id must be subscribed first."""
        try:
            admitted = await answer if isinstance(answer, Awaitable) else answer
            async with id_subscribed(self._websockets.hub, admitted):
                self._accept(sock, request, handshake, admitted)
        except RefusedError as refused:
            _refuse(sock, peer, refused, on_answered)
        except ClientGoneError:
            sock.close()
        except BaseException:  # cancelled, or a defect, after which the 101 may have been sent
            sock.close()
            raise

    def _accept(
        self, sock: socket.socket, request: UpgradeRequest, handshake: Handshake, admitted: Admitted
    ) -> None:
        answer = upgrade.response(request.headers, admitted.subprotocol)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.send(answer)  # nothing was sent before, so there is room for it
        except OSError as error:
            raise ClientGoneError(str(error)) from None
        self._websockets.take_over(handshake.mount, admitted, sock, b"")


def _refuse(sock: socket.socket, peer: Peer | None, refused: RefusedError, on_answered: Answered) -> None:
    """Answer as Tornado's handler does; the connection may continue with other requests."""
    counters.count("connections_refused")
    body = refused.sentence.encode()
    head = (
        f"HTTP/1.1 {refused.status} {reason_phrase(refused.status)}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Date: {formatdate(usegmt=True)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    try:
        sock.send(head.encode() + body)
    except OSError:
        sock.close()
    else:
        on_answered(sock, peer)
