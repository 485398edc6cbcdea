"""The messages that scripts/fuzz.py sends to each port of a mesh; each call sends one batch.

Messages that are well-formed but unusual come before those that break the protocol and end the connection,
because they reach more code.
"""

import contextlib
import http.client
import itertools
import json
import socket
from collections.abc import Callable

import msgspec
import zmq

from harness.mutate import Mutator
from harness.nodes import Nodes
from harness.websocket import BINARY, TEXT, frame, upgrade
from mesh.bus.discovery import placement
from mesh.bus.frames import RECORDED, Header, Received, Recorded, encode_header
from mesh.link import commands

BATCH = 200
PACK = msgspec.msgpack.encode
TOPIC = "room:fuzz"
MESSAGES = [
    ["1", "1", TOPIC, "phx_join", {"a": 1}],
    ["1", "2", TOPIC, "new_msg", {"b": [1, 2.5, None, "ü"]}],
    ["1", "3", TOPIC, "echo", {}],
    ["1", "4", TOPIC, "from", {"x": {"y": {}}}],
    ["1", "5", TOPIC, "push_me", {}],
    ["1", "6", TOPIC, "intercept_me", {}],
    [None, "7", "phoenix", "heartbeat", {}],
    ["1", "8", "presence:fuzz", "phx_join", {}],
    ["1", "9", TOPIC, "phx_leave", {}],
    ["1", "1", TOPIC, "phx_join", {"history": {"epoch": "k3v9a0b1c2d3", "offset": 41}}],
    ["1", "1", TOPIC, "phx_join", {"history": {"last": 20}}],
]
PUSH = b"\x00\x01\x01\x09\x03" + b"11room:fuzzbin" + b"\x00\x01\x02"
BUS = [
    (b"room:by\x00", 1, 0, b'{"a":1}'),
    (b"room:fuzz\x00", 1, 0, b'{"a":1}'),
    (b"room:fuzz\x00", 1, 1, b"bytes"),
    (b"room:fuzz\x00", 1, 2, PACK({"a": 1})),
    (b"$nodes\x00", 2, 0, placement.encode(placement.Announcement(node="fuzzer", kind="gateway"))),
    (b"$sync:x\x00", 3, 0, b""),
    (b"$presence:presence\x00", 4, 0, PACK([0, 1, 5, None, True])),
    (b"$presence:presence\x00", 4, 0, PACK([0, 1, 2, [0, 2, [[1, "room:fuzz", "k", {}]], [], False]])),
    (b"$presence:presence\x00", 4, 0, PACK([2, [0, 1, [[1, "t", "k", {}]], [], False]])),
    (b"$presence:presence\x00", 4, 0, PACK([3])),
    (b"$moves\x00", 9, 0, PACK([1, True])),
    (b"$once\x00", 8, 0, PACK([b"x" * 16, 1])),
    (b"room:by\x00", RECORDED, 0, b'{"a":1}'),
    (b"room:fuzz\x00", RECORDED, 1, b"bytes"),
]
POSITIONS = [
    Recorded("k3v9a0b1c2d3", 1, 1),
    Recorded("k3v9a0b1c2d3", 2**53, 2**53, "fuzzer", 1),
    Recorded("\0" * 64, 0, 0, "n" * 255, 2**63),
]
LINK: list[list[object]] = [
    [
        commands.Join(
            1, "/socket", TOPIC, "1", None, "websocket", "v2_json", b"\x81\xa7user_id\xc0", 0, b"{}"
        )
    ],
    [commands.Push(1, "2", "echo", 0, b"{}"), commands.Leave(1, "3")],
    [commands.SocketDown([1], "closed"), commands.Replace(1)],
]
ADMIN = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n"
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48)
READY = b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER\x08Identity\x00\x00\x00\x00"
SUBSCRIBE = b"\x00\x0a\x01room:fuzz"


class Attacks:
    """All attacks.

    Attributes:
        sent: the number of messages sent of each kind.
    """

    def __init__(self, nodes: Nodes, mutate: Mutator, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        self.sent: dict[str, int] = {}
        self._nodes = nodes
        self._mutate = mutate
        self._rng = mutate.rng
        self._context = context
        self._sequence = itertools.count(1)
        self._bus = self._socket(zmq.PUB, nodes.proxy)
        self._kinds: dict[str, Callable[[], int]] = {
            "websocket": self.websocket,
            "http": self.http,
            "longpoll": self.longpoll,
            "zeromq client": self.zeromq_client,
            "admin": self.admin,
            "bus": self.bus,
            "link": self.link,
            "stranger": self.stranger,
        }
        # Attacks that need one connection per message are chosen less often than the others.
        self._weights = (6, 1, 1, 5, 1, 8, 4, 1)

    def send_batch(self) -> int:
        """Send one batch of a random kind."""
        name = self._rng.choices(list(self._kinds), self._weights)[0]
        sent = self._kinds[name]()
        self.sent[name] = self.sent.get(name, 0) + sent
        return sent

    # The gateway's port

    def websocket(self) -> int:
        """Send unusual messages of each protocol version, then a malformed message or frame."""
        sent = 0
        while sent < BATCH:
            query, encode = self._rng.choice(VERSIONS)
            with contextlib.suppress(OSError), self._connect(self._nodes.port) as sock:
                sock.sendall(upgrade(query))
                sock.recv(4_096)
                odd = self._rng.choice((0, 3, 20, 60))
                frames = [encode(self._mutate.field(self._rng.choice(MESSAGES))) for _ in range(odd)]
                frames.insert(0, encode(MESSAGES[0]))
                sock.sendall(b"".join(frames) + self._broken_frame(encode))
                sent += len(frames) + 1
                _drain(sock)
        return sent

    def _broken_frame(self, encode: Callable[[object], bytes]) -> bytes:
        good = self._rng.choice((encode(self._rng.choice(MESSAGES)), frame(PUSH, BINARY)))
        if self._rng.random() < 0.3:
            return self._mutate(good)
        payload = self._mutate(good[6:] if len(good) < 132 else good[8:])
        return frame(payload[:60_000], good[0] & 0xF)

    def http(self) -> int:
        """Send malformed upgrade requests."""
        for _ in range(BATCH // 10):
            with contextlib.suppress(OSError), self._connect(self._nodes.port) as sock:
                sock.sendall(self._mutate(upgrade("vsn=2.0.0&a[b]=1&token=abc")))
        return BATCH // 10

    def longpoll(self) -> int:
        """Open sessions, and send malformed tokens, bodies and lines."""
        sent = 0
        connection = http.client.HTTPConnection("127.0.0.1", self._nodes.port, timeout=5)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError, KeyError):
            connection.request("GET", "/socket/longpoll?vsn=2.0.0")
            token = json.loads(connection.getresponse().read())["token"]
            for _ in range(BATCH // 10):
                body = self._mutate(b"\n".join(map(msgspec.json.encode, MESSAGES)))
                given = token if self._rng.random() < 0.8 else self._mutate(token.encode()).hex()
                headers = {"Content-Type": "application/x-ndjson", "X-Phoenix-Longpoll-Token": given}
                connection.request("POST", "/socket/longpoll?vsn=2.0.0", body, headers)
                sent += 1
                connection.getresponse().read()
        connection.close()
        return sent

    # The other ports for clients and operators

    def zeromq_client(self) -> int:
        """Send unusual and malformed messages and unknown kinds; the connection is reopened each time."""
        dealer = self._socket(zmq.DEALER, self._nodes.zeromq)
        sent = 0
        while sent < BATCH:
            query, encode = self._rng.choice(OPENINGS)
            opening = msgspec.json.encode({"path": "/socket", "params": query})
            frames = [[b"O", opening], encode(MESSAGES[0])]
            frames += [encode(self._mutate.field(self._rng.choice(MESSAGES))) for _ in range(20)]
            kind, content = encode(self._rng.choice(MESSAGES))
            frames.append([kind, self._mutate(content)])
            frames.append([self._rng.choice((b"O", b"P", b"C", b"x", b"")), self._mutate(opening)])
            sent += sum(self._send(dealer, each) for each in frames)
        dealer.close(1_000)
        return sent

    def admin(self) -> int:
        """Send malformed requests for metrics and health."""
        for _ in range(BATCH // 10):
            port = self._rng.choice(list(self._nodes.admin.values()))
            with contextlib.suppress(OSError), self._connect(port) as sock:
                sock.sendall(self._mutate(ADMIN))
        return BATCH // 10

    # The mesh's own ports

    def bus(self) -> int:
        """Publish malformed topics, headers and payloads on the bus, each with its own sequence number."""
        sent = 0
        for _ in range(BATCH):
            topic, kind, codec, data = self._rng.choice(BUS)
            origin = self._rng.choice(("fuzzer", "fuzzer", "other", ""))
            header = encode_header(self._header(kind, origin, codec))
            parts = [topic, header, data]
            broken = self._rng.randrange(3)
            parts[broken] = self._mutate(parts[broken])
            sent += self._send(self._bus, parts[: self._rng.choice((3, 3, 3, 3, 3, 2, 1))])
        return sent

    def _header(self, kind: int, origin: str, codec: int) -> Header:
        number = next(self._sequence)
        if kind != RECORDED:
            return Header(1, kind, origin, number, "new_msg", codec)
        event = self._rng.choice(("new_msg", "new_msg", "", "phx_close"))
        age = self._rng.choice((None, None, 5))
        return Received(1, kind, origin, number, event, codec, None, age, self._rng.choice(POSITIONS))

    def link(self) -> int:
        """Send unusual commands and malformed batches to a worker, as a gateway."""
        dealer = self._socket(zmq.DEALER, self._nodes.link)
        sent = self._send(dealer, [PACK([commands.Hello(1, "fuzzer")])])
        for _ in range(BATCH):
            batch = PACK(self._rng.choice(LINK))
            if self._rng.random() < 0.5:
                batch = PACK(self._mutate.odd(msgspec.msgpack.decode(batch)))
            else:
                batch = self._mutate(batch)
            sent += self._send(dealer, [batch])
        dealer.close(1_000)
        return sent

    def stranger(self) -> int:
        """Send malformed ZMTP greetings, handshakes and subscriptions to every ZeroMQ port."""
        ports = (self._nodes.proxy, self._nodes.proxy + 1, self._nodes.link, self._nodes.zeromq)
        for _ in range(BATCH // 20):
            for port in ports:
                with contextlib.suppress(OSError), self._connect(port) as sock:
                    parts = [GREETING, READY, SUBSCRIBE]
                    at = self._rng.randrange(len(parts))
                    parts[at] = self._mutate(parts[at])
                    sock.sendall(b"".join(parts))
        return BATCH // 20 * len(ports)

    def _connect(self, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port), 5)

    def _socket(self, kind: int, port: int) -> "zmq.Socket[bytes]":
        sock = self._context.socket(kind)
        sock.setsockopt(zmq.SNDTIMEO, 5_000)
        if kind == zmq.PUB:
            sock.setsockopt(zmq.XPUB_NODROP, 1)  # wait for the proxy instead of dropping messages
        sock.connect(f"tcp://127.0.0.1:{port}")
        return sock

    @staticmethod
    def _send(to: "zmq.Socket[bytes]", frames: list[bytes]) -> int:
        """Send a message; return 1, or 0 if the peer accepts none."""
        try:
            to.send_multipart(frames)
        except zmq.Again:
            return 0
        return 1


def _drain(sock: socket.socket) -> None:
    """Shut down and drain before closing: a plain close could destroy data that the peer has not read."""
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(65_536):
        pass


def _json(message: object) -> bytes:
    return frame(msgspec.json.encode(message), TEXT)


def _msgpack(message: object) -> bytes:
    return frame(PACK(message), BINARY)


def _v1(message: object) -> bytes:
    names = ("join_ref", "ref", "topic", "event", "payload")
    if isinstance(message, list) and len(message) == len(names):
        message = dict(zip(names, message, strict=True))
    return _json(message)


VERSIONS: list[tuple[str, Callable[[object], bytes]]] = [
    ("vsn=2.0.0", _json),
    ("vsn=2.0.0&format=msgpack", _msgpack),
    ("vsn=1.0.0", _v1),
]
OPENINGS: list[tuple[dict[str, str], Callable[[object], list[bytes]]]] = [
    ({"vsn": "2.0.0"}, lambda message: [b"T", msgspec.json.encode(message)]),
    ({"vsn": "2.0.0", "format": "msgpack"}, lambda message: [b"B", PACK(message)]),
]
