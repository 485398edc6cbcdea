"""Calls of the parsers that read what clients send, for tests/support/parsers.py."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders, HTTPServerRequest, parse_request_start_line

from mesh.app import session_cookies
from mesh.app.channel import Channel
from mesh.app.mount import Mount, SessionCookie
from mesh.app.routes import Route, RouteTable
from mesh.app.socket_handler import ConnectInfo, SocketHandler
from mesh.errors import DecodeError
from mesh.gateway.channels.actions import Forward
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.session import Session
from mesh.gateway.http import requests
from mesh.gateway.http.origin import OriginCheck
from mesh.gateway.http.publish import PublishApi
from mesh.gateway.transports import admission
from mesh.gateway.transports.handshake import Handshake
from mesh.gateway.transports.longpoll.messages import messages_of
from mesh.gateway.transports.websocket import upgrade
from mesh.gateway.transports.websocket.frames import CLOSE, FrameReader, close_code
from mesh.gateway.transports.zeromq.messages import read_opening
from mesh.link import commands
from mesh.protocol.messages import BINARY
from mesh.protocol.serializers.registry import BY_NAME
from tests.support.gateway_channels import answer, place
from tests.support.parser import JSON_OF, PACK, SECRET, Parser, hexes


def serializer(name: str, binary: bool, again: Callable[[Any], bytes] | None) -> Parser:
    seeds = hexes("client", serializer=name, binary=binary, direction="to_gateway")
    return Parser(
        f"{name} {'binary' if binary else 'text'}",
        lambda data: BY_NAME[name].decode(data, binary),
        (DecodeError,),
        seeds,
        again,
    )


def _v2(message: Any) -> bytes:
    fields = (message.join_ref, message.ref, message.topic, message.event)
    return JSON_OF((*fields, msgspec.Raw(message.data)))


def _v1(message: Any) -> bytes:
    names = ("topic", "event", "ref", "join_ref")
    return JSON_OF(
        {**{name: getattr(message, name) for name in names}, "payload": msgspec.Raw(message.data)}
    )


def _v2_msgpack(message: Any) -> bytes:
    payload = message.data if message.codec == BINARY else msgspec.Raw(message.data)
    return PACK((message.join_ref, message.ref, message.topic, message.event, payload))


def _v2_binary(message: Any) -> bytes:
    fields = [each.encode() for each in (message.join_ref, message.ref, message.topic, message.event)]
    return bytes((0, *map(len, fields))) + b"".join(fields) + message.data


class Room(Channel):
    """Some channel."""


ROUTES: RouteTable[type[Channel]] = RouteTable([Route("room:*", Room)])
OPTIONS = [(name, binary) for name in BY_NAME for binary in (False, True)]


def converse(data: bytes) -> list[Any]:
    """A client that is joined says something: what follows can be sent on its way, to worker and client.

    The first byte chooses the serializer and the opcode.
    """
    name, binary = OPTIONS[data[0] % len(OPTIONS)] if data else OPTIONS[0]
    session = Session(BY_NAME[name], ROUTES, SimpleNamespace(), itertools.count(1).__next__, 5, 1_000)
    joined = GatewayChannel(0, ROUTES.routes[0], _join_message(name), SimpleNamespace())
    session.channels["room:1"] = joined
    place(joined)
    answer(joined)
    actions = session.received(data[1:], binary)
    for action in actions:
        if isinstance(action, Forward):
            batch = commands.encode_batch([action.command])
            assert len(commands.decode_to_worker(batch)) == 1
    return actions


def _join_message(name: str) -> Any:
    binary = name == "v2_msgpack"
    fields = ["1", "1", "room:1", "phx_join", {}]
    if name == "v1_json":
        fields = {"topic": "room:1", "event": "phx_join", "payload": {}, "ref": "1", "join_ref": "1"}  # type: ignore[assignment]
    return BY_NAME[name].decode(PACK(fields) if binary else JSON_OF(fields), binary)


def conversations() -> list[bytes]:
    seeds = []
    for number, (name, binary) in enumerate(OPTIONS):
        if (name, binary) != ("v2_msgpack", False) and (name, binary) != ("v1_json", True):
            found = hexes("client", serializer=name, binary=binary, direction="to_gateway")
            seeds += [bytes([number]) + each for each in found]
    return seeds


def feed(data: bytes) -> list[Any]:
    """A connection's bytes, whole and cut in two, are the same messages."""
    whole = FrameReader(4_096)
    received, error = whole.feed(data)
    reader, cut = FrameReader(4_096), len(data) // 2
    pieces, problem = reader.feed(data[:cut])
    # After a close frame nothing more is read.
    if problem is None and not any(each.opcode == CLOSE for each in pieces):
        more, problem = reader.feed(data[cut:])
        pieces += more
    assert (pieces, problem and problem.code) == (received, error and error.code)
    for each in received:
        if each.opcode == CLOSE:
            close_code(each.payload)
    if error is not None:
        raise error
    return received


def client_frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    head = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + head + bytes(4) + payload


class Handler(SocketHandler):
    """Takes everybody in."""

    log = None
    channels = {"room:*": Room}

    def id(self) -> str | None:
        return None


MOUNT = Mount(
    Handler,
    longpoll=True,
    auth_token=True,
    session=SessionCookie("session", session_cookies.flask(SECRET)),
).at("/socket")


def request_of(data: bytes) -> HTTPServerRequest:
    """A request as Tornado reads it. Raises HTTPInputError."""
    text = data.decode("latin1").lstrip("\r\n")
    end = text.find("\n")
    line = parse_request_start_line(text[:end].rstrip("\r"))
    head, _, body = text[end:].partition("\r\n\r\n")
    context = SimpleNamespace(remote_ip="127.0.0.1", protocol="http", address=("127.0.0.1", 1))
    return HTTPServerRequest(
        connection=SimpleNamespace(context=context),  # type: ignore[arg-type]
        start_line=line,
        headers=HTTPHeaders.parse(head + "\r\n"),
        body=body.encode("latin1"),
    )


def run(coroutine: Any) -> Any:
    """The result of a coroutine that does not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


def handshake(transport: str, rule: Any) -> Callable[[bytes], Any]:
    checks = Handshake(MOUNT, transport, OriginCheck(rule, "localhost"))

    def call(data: bytes) -> Any:
        request = request_of(data)
        admitted: Any = checks._run(request, ("127.0.0.1", 1))  # as `run`, but an error of ours shows
        if transport == "websocket" and upgrade.problem(request.headers) is None:
            assert upgrade.response(request.headers, admitted.subprotocol).endswith(b"\r\n\r\n")
        return admitted

    return call


def session_of(data: bytes) -> Any:
    return session_cookies.flask(SECRET)(data.decode("latin1")), session_cookies.starlette(SECRET)(
        data.decode("latin1")
    )


UPGRADE = (
    b"GET /socket/websocket?vsn=2.0.0&a[b]=1&_csrf_token=x HTTP/1.1\r\nHost: localhost:4000\r\n"
    b"Origin: http://localhost:4000\r\nCookie: session=eyJhIjoxfQ.Zx.abc; b=2\r\nX-A: 1\r\n"
    b"Sec-WebSocket-Protocol: phoenix, base64url.bearer.phx.dG9rZW4\r\n"
    b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LONGPOLL = (
    b"POST /socket/longpoll?vsn=2.0.0&token=abc HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/x-ndjson\r\nX-Phoenix-AuthToken: t0ken\r\n\r\n"
    b'["1","1","room:1","phx_join",{}]\nAAEBCQMxMXJvb206MWJpbg==\r\n["1","2","room:1","a",{}]'
)


def longpoll_messages(data: bytes) -> Any:
    return messages_of(request_of(data))


def api(action: str) -> Callable[[bytes], Any]:
    return lambda data: requests.ACTIONS[action](data, 3)


def api_key(data: bytes) -> Any:
    return PublishApi.key_of(SimpleNamespace(_keys=[b"key"]), data.decode("latin1"))  # type: ignore[arg-type]


def opening(data: bytes) -> Any:
    """As a ZeroMQ client is let in."""
    read = read_opening(data)
    info = ConnectInfo(transport="zeromq", uri=read.path)
    return admission.call_connect(MOUNT, info, read.params)
