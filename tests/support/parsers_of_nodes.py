"""Calls of the parsers that read what nodes, proxies, files and the environment give, for tests/support/parsers.py."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mesh import addresses
from mesh.app import tokens, topics
from mesh.bus import frames
from mesh.client import wire
from mesh.errors import EncodeError
from mesh.gateway.http.forwarded import TrustedProxies
from mesh.gateway.http.origin import OriginCheck
from mesh.gateway.http.upgrade_request import Headers
from mesh.gateway.transports.longpoll import encoding as longpoll_encoding
from mesh.gateway.transports.websocket import server as websocket
from mesh.protocol.serializers.base import Frame
from mesh.tracker import messages as tracker_messages
from mesh.tracker.state import Delta, State
from mesh.zeromq import keys
from tests.support.parser import JSON_OF, PACK, SECRET, vectors


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
    return TrustedProxies(["10.0.0.0/8"]).original_request(
        headers, "http", "localhost:4000", ("10.0.0.1", 1)
    )


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
