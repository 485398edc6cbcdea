"""A client's connection over plain ZeroMQ: a DEALER to a gateway (docs/protocol.md §1.2)."""

import asyncio
import random
from collections import deque
from typing import Any

import msgspec
import zmq
from zmq.utils.monitor import parse_monitor_message

from mesh.client.base import ABNORMAL_CLOSURE, ConnectionEnded
from mesh.errors import ConnectError, ConnectRefused, NodeError
from mesh.protocol.serializers.base import Frame
from mesh.zeromq import sockets
from mesh.zeromq.name_resolution import resolve
from mesh.zeromq.randomness import seed
from mesh.zeromq.socket_reader import SocketReader

OPEN, REFUSED, CLOSE, PING, TEXT, BINARY = b"O", b"R", b"C", b"P", b"T", b"B"
UNKNOWN_CLIENT = 4000
"""Close code: the gateway does not know this client."""
RETRY_SECONDS = 0.005

_FAILURES = (
    zmq.EVENT_DISCONNECTED
    | zmq.EVENT_CLOSED
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)
_HANDSHAKE_FAILURES = _FAILURES & ~(zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
_encode = msgspec.json.Encoder().encode

CLOSE_LINGER_MS = 5_000
"""How long a busy gateway may take to accept what was sent; one that is gone is not waited for."""


class ZeroMQConnector:
    """Opens connections to one gateway.

    Args:
        address: the gateway's `zeromq.bind`, e.g. `tcp://127.0.0.1:5560`.
        path: the path of the socket's mount.
        curve: the keys, if the gateway uses CURVE.
        timeout_seconds: how long to wait for the gateway's answer.
        max_message_bytes: a longer message from the gateway ends the connection.
    """

    def __init__(
        self,
        address: str,
        path: str,
        curve: sockets.ClientCurve | None,
        timeout_seconds: float,
        max_message_bytes: int,
    ) -> None:
        self._address = address
        self._path = path
        self._curve = curve
        self._timeout_seconds = timeout_seconds
        self._max_message_bytes = max_message_bytes
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None

    async def connect(self, params: dict[str, Any]) -> "ZeroMQConnection":
        """Open a connection. Raises ConnectRefused, ConnectError."""
        if self._context is None:
            seed()
            self._context = zmq.Context()
        try:  # each time: the name may refer to another gateway by now
            address = random.choice(await resolve(self._address, self._timeout_seconds))  # noqa: S311
        except NodeError as error:
            raise ConnectError(f"{self._address} cannot be reached: {error}") from None
        connection = ZeroMQConnection(self._context, address, self._max_message_bytes, self._curve)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await connection.open(self._path, params)
        except TimeoutError:
            connection.release()
            keys = "with this server_key" if self._curve else "without CURVE keys"
            raise ConnectError(
                f"{self._address} does not answer {keys} within {self._timeout_seconds:g} seconds"
            ) from None
        except ConnectionEnded as error:
            connection.release()
            raise ConnectError(f"{self._address} cannot be reached: {error.reason}") from None
        except BaseException:
            connection.release()
            raise
        return connection

    async def aclose(self) -> None:
        """Terminate the context, after up to CLOSE_LINGER_MS milliseconds to send what is queued."""
        context, self._context = self._context, None
        if context is not None:
            await asyncio.shield(asyncio.to_thread(context.term))


class ZeroMQConnection:
    """One DEALER, which never reconnects."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        max_message_bytes: int,
        curve: sockets.ClientCurve | None,
    ) -> None:
        self._messages: deque[list[bytes]] = deque()
        self._arrived = asyncio.Event()
        self._ended: ConnectionEnded | None = None
        self._released = False
        self._socket = sockets.client_dealer(context, max_message_bytes, curve)
        self._monitor = sockets.monitor(self._socket, _FAILURES)
        self._reader = SocketReader(self._socket, self._received)
        self._monitor_reader = SocketReader(self._monitor, self._on_monitor_event)
        try:
            sockets.connect_client(self._socket, address)
        except BaseException:
            self.release()
            raise
        self._reader.start()
        self._monitor_reader.start()

    async def open(self, path: str, params: dict[str, Any]) -> None:
        """Ask to be admitted. Raises ConnectRefused, ConnectionEnded."""
        await self._send(OPEN, _encode({"path": path, "params": params}))
        while True:
            kind, data = await self._next()
            if kind == OPEN:
                return
            content = _json_object(data)
            if kind == REFUSED:
                raise ConnectRefused(_integer(content.get("status"), 0), str(content.get("reason", "")))
            if kind == CLOSE and content.get("code") != UNKNOWN_CLIENT:
                raise _closed(content)

    async def send(self, frame: Frame) -> None:
        """Send a message; return when ZeroMQ has it. Raises ConnectionEnded."""
        await self._send(BINARY if frame.binary else TEXT, frame.data)

    async def recv(self) -> Frame:
        """Return the next message. Raises ConnectionEnded."""
        while True:
            kind, data = await self._next()
            if kind in (TEXT, BINARY):
                return Frame(data, kind == BINARY)
            if kind == CLOSE:
                raise _closed(_json_object(data))

    async def close(self, code: int, reason: str) -> None:
        """Tell the gateway, and release the sockets."""
        del code, reason
        if not self._released and self._ended is None:
            try:
                self._socket.send_multipart((CLOSE, b""), zmq.NOBLOCK)
            except zmq.ZMQError:
                pass  # the gateway notices the end of the connection
            return self.release(CLOSE_LINGER_MS)
        self.release()

    def release(self, linger_ms: int = sockets.LINGER_MS) -> None:
        """Close the sockets; ZeroMQ still sends what is queued, for up to `linger_ms` milliseconds."""
        if self._released:
            return
        self._released = True
        self._ended = self._ended or ConnectionEnded(ABNORMAL_CLOSURE, "closed by us")
        self._arrived.set()
        self._reader.close()
        self._monitor_reader.close()
        self._socket.disable_monitor()
        self._monitor.close()
        self._socket.close(linger_ms)

    async def _send(self, kind: bytes, data: bytes) -> None:
        while self._ended is None:
            try:
                self._socket.send_multipart((kind, data), zmq.NOBLOCK)
            except zmq.Again:
                # The gateway does not read; the heartbeats show whether it is still there.
                self._reader.read_soon()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._reader.read_soon()
                return
        raise self._ended

    async def _next(self) -> tuple[bytes, bytes]:
        while not self._messages:
            if self._ended is not None:
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()
        frames = self._messages.popleft()
        return frames[0], frames[1] if len(frames) > 1 else b""

    def _received(self, frames: list[bytes]) -> None:
        self._messages.append(frames)
        self._arrived.set()

    def _on_monitor_event(self, frames: list[bytes]) -> None:
        event = parse_monitor_message(frames)["event"]
        if event & _HANDSHAKE_FAILURES:
            reason = "the handshake failed (does the gateway require other CURVE keys?)"
        elif event == zmq.EVENT_CLOSED:
            reason = "nothing listens at this address"
        else:
            self._reader.read_now()  # read what arrived before the end
            reason = "the connection was lost"
        if self._ended is None:
            self._ended = ConnectionEnded(ABNORMAL_CLOSURE, reason)
        self._arrived.set()


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _closed(content: dict[str, Any]) -> ConnectionEnded:
    return ConnectionEnded(_integer(content.get("code"), ABNORMAL_CLOSURE), str(content.get("reason", "")))


def _integer(value: Any, default: int) -> int:
    return value if isinstance(value, int) else default
