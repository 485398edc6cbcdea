"""Every parser that reads a stranger's bytes: what to call, what it may raise, what it reads.

tests/unit/test_parsers.py and scripts/fuzz_parsers.py go through this list; a new parser belongs into it.
"""

import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest, parse_request_start_line

from gateway.channels.actions import Forward
from gateway.channels.gateway_channel import GatewayChannel
from gateway.channels.phases import Event
from gateway.channels.session import Session
from gateway.http import cookies, idempotency, proxy_protocol, requests
from gateway.http.forwarded import TrustedProxies
from gateway.http.origin import OriginCheck
from gateway.http.params import decode_query
from gateway.http.publish import PublishApi
from gateway.http.upgrade_request import Headers
from gateway.transports import admission
from gateway.transports.admission import RefusedError
from gateway.transports.handshake import Handshake
from gateway.transports.longpoll import calls as longpoll_calls
from gateway.transports.longpoll import encoding as longpoll_encoding
from gateway.transports.longpoll.messages import messages_of
from gateway.transports.websocket import server as websocket
from gateway.transports.websocket import upgrade
from gateway.transports.websocket.frames import CLOSE, FrameReader, close_code
from gateway.transports.zeromq.messages import read_opening
from mesh import addresses, payloads, sessions, tokens, topics
from mesh.bus import calls, frames, topic_counts, trace_call
from mesh.bus.discovery import placement
from mesh.bus.zeromq import failover
from mesh.channel import Channel
from mesh.client import wire
from mesh.errors import (
    DecodeError,
    EncodeError,
    RemoteProtocolError,
    SettingsError,
    TokenError,
    TopicError,
    WebSocketError,
    WireError,
)
from mesh.link import commands
from mesh.messages import BINARY, JSON, MSGPACK
from mesh.mount import Mount, SessionCookie
from mesh.routes import Route, RouteTable
from mesh.serializers.base import Frame
from mesh.serializers.registry import BY_NAME, negotiate
from mesh.socket import ConnectInfo, SocketHandler
from mesh.tracker import messages as tracker_messages
from mesh.tracker.state import Delta, State
from mesh.worker.channel.assigns import decode_assigns
from mesh.zeromq import keys

VECTORS = Path(__file__).parents[1] / "vectors"
SECRET = "a secret of more than twenty bytes"
PACK = msgspec.msgpack.encode
JSON_OF = msgspec.json.encode


@dataclass
class Parser:
    """One of them.

    Attributes:
        name: of the parser.
        call: reads bytes.
        raises: what it may raise for bytes it cannot read.
        seeds: bytes that it can read.
        again: makes bytes of what was read, which must read the same; None where nothing writes it.
    """

    name: str
    call: Callable[[bytes], Any]
    raises: tuple[type[Exception], ...]
    seeds: list[bytes] = field(default_factory=list)
    again: Callable[[Any], bytes] | None = None


def vectors(name: str, **wanted: Any) -> list[dict[str, Any]]:
    """Good examples of tests/vectors."""
    every = json.loads((VECTORS / f"{name}.json").read_text())
    found = [
        each
        for each in every
        if "error" not in each and all(each.get(key) == value for key, value in wanted.items())
    ]
    assert found, (name, wanted)
    return found


def hexes(name: str, **wanted: Any) -> list[bytes]:
    return [bytes.fromhex(each["hex"]) for each in vectors(name, **wanted)]


# Clients


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
    joined.handle(Event.SUBSCRIBED)
    joined.placed("w")
    joined.handle(Event.ACCEPTED)
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


# HTTP


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
    session=SessionCookie("session", sessions.flask(SECRET)),
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
        admitted: Any = checks._ask(request, ("127.0.0.1", 1))  # as `ask`, but an error of ours shows
        if transport == "websocket" and upgrade.problem(request.headers) is None:
            assert upgrade.response(request.headers, admitted.subprotocol).endswith(b"\r\n\r\n")
        return admitted

    return call


def session_of(data: bytes) -> Any:
    return sessions.flask(SECRET)(data.decode("latin1")), sessions.starlette(SECRET)(data.decode("latin1"))


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
    return admission.ask(MOUNT, info, read.params)


# Nodes


def bus_message(data: bytes) -> Any:
    """The three frames of a message, behind one byte each that says how long the first two are."""
    first, second = (data + b"\0\0")[:2]
    topic, header, payload = data[2 : 2 + first], data[2 + first :][:second], data[2 + first + second :]
    named = topics.of_frame(topic)
    read = frames.decode_header(header)
    if read.kind == frames.DIRECT:
        named, payload = frames.decode_direct(payload)
    for encoding in (*websocket.ENCODINGS.values(), *longpoll_encoding.ENCODINGS.values()):
        deliver(encoding, named, read, payload)
    return read


def deliver(encoding: Any, topic: str, header: frames.Header, payload: bytes) -> None:
    """As the fan-out does: what cannot be told to some clients is EncodeError, and nothing else."""
    try:
        frame = encoding.serializer.encode_broadcast(topic, header.event, header.codec, payload)
    except EncodeError:
        return
    encoding.ready(frame)


def bus_seeds() -> list[bytes]:
    found = []
    for each in vectors("bus"):
        topic, header, payload = map(bytes.fromhex, each["frames"])
        found.append(bytes((len(topic), len(header))) + topic + header + payload)
    return found


def payloads_of(kind: int) -> list[bytes]:
    found = [each["frames"] for each in vectors("bus") if each["header"][1] == kind]
    return [bytes.fromhex(each[2]) for each in found]


def track(data: bytes) -> Any:
    """A replica's message, and what becomes of it."""
    message = tracker_messages.decode(data)
    delta = getattr(message, "delta", None)
    if isinstance(delta, Delta):
        state = State("me")
        for visible in (state.show, state.hide, state.show):
            state.merge("you", delta)
            visible("you")
        state.forget("you")
        assert state.topics() == []
    return message


TRACKER = [
    PACK(tracker_messages.Gossip(1, 5, None, True)),
    PACK([0, 1, 2, [0, 2, [[1, "t", "k", {"a": 1}], [2, "t", "l", {}]], [], False]]),
    PACK([0, 1, 3, [0, 3, [[2, "t", "l", {}]], [1], True]]),
    PACK(tracker_messages.Request(7)),
    PACK(tracker_messages.Transfer(Delta(0, 1))),
    PACK(tracker_messages.Goodbye()),
]

# Files and settings

_KEY_FILE = Path(tempfile.mkdtemp(prefix="parsers-")) / "some.key"
KEY = (
    b'#   ****  Generated ****\n\nmetadata\n    name = "a"\ncurve\n'
    b'    public-key = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"\n'
    b'    secret-key = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"\n'
)


def key_file(data: bytes) -> Any:
    _KEY_FILE.write_bytes(data)
    return keys.read_public(_KEY_FILE)


def address(data: bytes) -> Any:
    """As the environment gives it."""
    text = data.decode("utf-8", "surrogateescape")
    checked = addresses.check_address(text, "MESH_BUS__PROXIES")
    other = checked if checked.endswith("*") else addresses.subscribe_address(checked)
    return other, addresses.is_local(checked)


def origin(rule: Any) -> Callable[[bytes], Any]:
    """The first line is the Origin, the second the Host."""
    check = OriginCheck(rule, "example.com")

    def call(data: bytes) -> Any:
        given, _, host = data.decode("latin1").partition("\n")
        return check.allows(given, "http", host)

    return call


def forwarded(data: bytes) -> Any:
    """Headers of a trusted proxy, one a line."""
    headers = Headers(data.decode("latin1").replace("\n", "\r\n"))
    return TrustedProxies(["10.0.0.0/8"]).see(headers, "http", "localhost:4000", ("10.0.0.1", 1))


FORWARDED = [
    b"X-Forwarded-For: 192.0.2.7, 10.0.0.2\nX-Forwarded-Proto: https\nX-Forwarded-Host: a.com:1\nX-Forwarded-Port: 2",
    b'Forwarded: for="[2001:db8::7]:1";proto=https;host="a.com", for=_hidden;by=unknown',
]
PROXY_HEADERS = [
    b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
    b"PROXY UNKNOWN\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0f\xc0\0\2\7\xc0\0\2\x08\0\1\0\2\4\0\0",
]

TOKEN = tokens.sign(SECRET, "user", {"id": 1}, signed_at=1_000_000_000).encode()


def token(data: bytes) -> Any:
    return tokens.verify(SECRET, "user", data.decode("latin1"), now=1_000_000_010)


def server_message(format: Any, binary: bool) -> Callable[[bytes], Any]:
    return lambda data: wire.decode(format, Frame(data, binary))


ORIGINS = [
    b"http://example.com\nexample.com",
    b"https://a.example.com:8443\nexample.com:80",
    b"null\n[::1]:1",
]
POSTED = [JSON_OF({"topic": "room:1", "event": "e", "payload": {"a": [1]}})]

PARSERS = [
    Parser("assigns", decode_assigns, (WireError,), [PACK({"user_id": 1})], PACK),
    serializer("v1_json", False, _v1),
    serializer("v2_json", False, _v2),
    serializer("v2_json", True, _v2_binary),
    serializer("v2_msgpack", True, _v2_msgpack),
    Parser("session", converse, (), conversations()),
    Parser(
        "websocket frames",
        feed,
        (WebSocketError,),
        [
            client_frame(1, b"text"),
            client_frame(2, bytes(200)),
            client_frame(9, b"p") + client_frame(8, b"\x03\xe8"),
        ],
    ),
    Parser(
        "query",
        lambda data: decode_query(data.decode("latin1")),
        (RemoteProtocolError,),
        [b"a=1&b[c]=2&b[]=%C3%BC+"],
    ),
    Parser(
        "cookies",
        lambda data: list(cookies.candidates(data.decode("latin1").split("\n"), "session")),
        (),
        [b'session="a\\073"; b=1\nsession=2'],
    ),
    Parser(
        "vsn",
        lambda data: negotiate(data.decode("latin1")),
        (RemoteProtocolError,),
        [b"2.0.0", b"1.0.1-rc.1+b"],
    ),
    Parser("upgrade", handshake("websocket", True), (RefusedError, HTTPInputError), [UPGRADE]),
    Parser(
        "upgrade, origin conn", handshake("websocket", "conn"), (RefusedError, HTTPInputError), [UPGRADE]
    ),
    Parser("longpoll request", handshake("longpoll", False), (RefusedError, HTTPInputError), [LONGPOLL]),
    Parser("longpoll body", longpoll_messages, (HTTPInputError,), [LONGPOLL]),
    Parser("origin", origin(["//*.example.com", "https://example.com:8443"]), (), ORIGINS),
    Parser("origin conn", origin("conn"), (), ORIGINS),
    Parser("forwarded", forwarded, (), FORWARDED),
    Parser("proxy header", proxy_protocol.read, (RemoteProtocolError,), PROXY_HEADERS),
    Parser("token", token, (TokenError,), [TOKEN]),
    Parser("session cookie", session_of, (), [b"eyJhIjoxfQ.Zx.abc", TOKEN]),
    Parser("api key", api_key, (), [b"Bearer key", b"bearer  x"]),
    Parser("api broadcast", api("broadcast"), (requests.RequestError,), POSTED),
    Parser(
        "api batch",
        api("broadcast_batch"),
        (requests.RequestError,),
        [b'{"messages":[' + POSTED[0] + b"]}"],
    ),
    Parser("api disconnect", api("disconnect"), (requests.RequestError,), [b'{"socket_id":"users:1"}']),
    Parser(
        "zeromq opening",
        opening,
        (RefusedError,),
        [b'{"path":"/socket","params":{"vsn":"2.0.0","format":"msgpack"}}'],
    ),
    Parser(
        "payload json",
        lambda data: payloads.decode(JSON, data),
        (DecodeError,),
        [b'{"a":[1,2.5,null,"\xc3\xbc"]}'],
        JSON_OF,
    ),
    Parser(
        "payload msgpack",
        lambda data: payloads.decode(MSGPACK, data),
        (DecodeError,),
        [PACK({"a": [1, b"b"]})],
        PACK,
    ),
    Parser("bus message", bus_message, (WireError, TopicError), bus_seeds()),
    Parser(
        "bus direct",
        frames.decode_direct,
        (WireError, TopicError),
        [b"room:1\0{}"],
        lambda read: frames.encode_direct(*read),
    ),
    Parser(
        "announcement", placement.decode, (WireError,), payloads_of(frames.ANNOUNCEMENT), placement.encode
    ),
    Parser("move", failover.decode, (WireError,), [PACK((1, True, 0))], PACK),
    Parser("call", calls.decode, (WireError,), [PACK((1, b"question"))], PACK),
    Parser(
        "topics question",
        topic_counts.decode_question,
        (WireError,),
        [PACK(topic_counts.Question("room:", False, 9))],
        PACK,
    ),
    Parser(
        "topics answer",
        topic_counts.decode_answer,
        (WireError,),
        [PACK(topic_counts.TopicCounts([("room:1", 2)], 1))],
        PACK,
    ),
    Parser(
        "trace question",
        trace_call.decode_question,
        (WireError,),
        [PACK(trace_call.Question("t", "room:1", "", 1.5, 9))],
        PACK,
    ),
    Parser(
        "trace answer",
        trace_call.decode_seen,
        (WireError,),
        [PACK(trace_call.Seen(2, [trace_call.Fate("w", 1, "e", 7, 0.5, 3, 2, {}, {"slow": 1}, 0, 0)]))],
        PACK,
    ),
    Parser(
        "longpoll polled", longpoll_calls.decode_polled, (WireError,), [PACK(None), PACK([b"[]"])], PACK
    ),
    Parser("longpoll unread", longpoll_calls.decode_unread, (WireError,), [PACK(("id", [b"[]"]))], PACK),
    Parser(
        "longpoll post", longpoll_calls.decode_post, (WireError,), [PACK(("id", [(b"[]", False)]))], PACK
    ),
    Parser(
        "longpoll status",
        longpoll_calls.decode_status,
        (WireError,),
        [b"200", b"410"],
        lambda status: b"%d" % status,
    ),
    Parser(
        "idempotency key",
        idempotency.decode,
        (WireError,),
        [idempotency.encode(b"f" * 16, 3)],
        lambda read: idempotency.encode(*read),
    ),
    Parser("tracker", track, (WireError,), TRACKER, tracker_messages.encode),
    Parser(
        "link to worker",
        commands.decode_to_worker,
        (WireError,),
        hexes("link", direction="to_worker"),
        commands.encode_batch,
    ),
    Parser(
        "link to gateway",
        commands.decode_to_gateway,
        (WireError,),
        hexes("link", direction="to_gateway"),
        commands.encode_batch,
    ),
    Parser(
        "client json",
        server_message("json", False),
        (DecodeError,),
        hexes("client", serializer="v2_json", binary=False, direction="to_client"),
    ),
    Parser(
        "client binary",
        server_message("json", True),
        (DecodeError,),
        hexes("client", serializer="v2_json", binary=True, direction="to_client"),
    ),
    Parser(
        "client msgpack",
        server_message("msgpack", True),
        (DecodeError,),
        hexes("client", serializer="v2_msgpack", direction="to_client"),
    ),
    Parser("key file", key_file, (SettingsError,), [KEY]),
    Parser(
        "address", address, (SettingsError,), [b"tcp://127.0.0.1:5550", b"ipc:///tmp/a", b"tcp://[::1]:*"]
    ),
]
"""All of them."""

BY_PARSER = {each.name: each for each in PARSERS}


def read(parser: Parser, data: bytes) -> Any:
    """What the parser reads; the exception, if it is one that it may raise."""
    try:
        return parser.call(data)
    except parser.raises as error:
        return error


def together(parsers: dict[str, Parser]) -> Parser:
    """One parser for all: the first byte chooses which of them reads the rest."""
    every = list(parsers.values())

    def call(data: bytes) -> Any:
        if data:
            read(every[data[0] % len(every)], data[1:])

    seeds = [bytes([number]) + seed for number, each in enumerate(every) for seed in each.seeds]
    return Parser("all together", call, (), seeds)
