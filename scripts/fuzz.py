"""Throws mutated messages at every port of a running mesh, and asks bystanders what they noticed: nothing.

    python scripts/fuzz.py [--messages 1000000] [--seed 1]

Starts a proxy, a worker and a gateway over TCP. Then, in turn, it sends what a client, a ZeroMQ client, a
node on the bus, a gateway on a link and a stranger without any protocol might send, with bytes flipped, cut
out, doubled and spliced. All the while a client at the gateway pushes and hears broadcasts; each must come
within seconds. At the end every node must be alive, must not have grown without bound, and must not have
logged an error of its own.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import zmq

from mesh import placement
from mesh.bus.frames import Header, encode_header
from mesh.client import Client, ClientChannel
from mesh.link import commands

APP = "examples.conformance:endpoint"
OUR_FAULT = "handling a message failed"
ANSWER_SECONDS = 10.0
MAX_GROWTH_KILOBYTES = 150_000
BATCH = 200
PUMP = msgspec.json.encode
PACK = msgspec.msgpack.encode


class Mesh:
    """Three nodes over TCP."""

    def __init__(self, directory: Path) -> None:
        self.proxy, self.link, self.zeromq = free_port(2), free_port(1), free_port(1)
        self._directory = directory
        settings = {
            "MESH_BUS__PROXIES": f"tcp://127.0.0.1:{self.proxy}",
            "MESH_LINK__BIND": f"tcp://127.0.0.1:{self.link}",
            "MESH_ZEROMQ__BIND": f"tcp://127.0.0.1:{self.zeromq}",
            "MESH_LOG__LEVEL": "error",
        }
        self._environment = {**os.environ, **settings}
        self.nodes = {
            name: self._start(name, arguments)
            for name, arguments in (
                ("proxy", []),
                ("worker", [APP]),
                ("gateway", [APP, "--port", "0"]),
            )
        }

    def _start(self, name: str, arguments: list[str]) -> "subprocess.Popen[bytes]":
        with (self._directory / f"{name}.log").open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "nodes", name, *arguments],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, name: str) -> str:
        """What a node has printed."""
        return (self._directory / f"{name}.log").read_text(errors="replace")

    async def gateway_port(self) -> int:
        """Where the gateway listens, once it does."""
        async with asyncio.timeout(30):
            while "http://" not in self.log("gateway"):
                await asyncio.sleep(0.05)
        return int(self.log("gateway").partition("http://")[2].split()[0].rpartition(":")[2])

    def kilobytes(self, name: str) -> int:
        """Resident memory of a node."""
        status = Path(f"/proc/{self.nodes[name].pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])

    def stop(self) -> None:
        """SIGTERM to all."""
        for node in reversed(self.nodes.values()):
            node.terminate()
        for node in self.nodes.values():
            try:
                node.wait(30)
            except subprocess.TimeoutExpired:
                node.kill()


def free_port(in_a_row: int) -> int:
    """A port that is free, and the next ones."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for more in range(1, in_a_row):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + more))
            except OSError:
                continue
            return port


class Mutator:
    """Makes broken bytes of good ones."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __call__(self, data: bytes) -> bytes:
        """One to four changes, now and then none."""
        broken = bytearray(data)
        for _ in range(self.chance.choice((0, 1, 1, 1, 2, 4))):
            self.chance.choice((self._flip, self._cut, self._double, self._insert))(broken)
        return bytes(broken)

    def _at(self, data: bytearray) -> int:
        return self.chance.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)

    def _cut(self, data: bytearray) -> None:
        start = self._at(data)
        del data[start : start + self.chance.randrange(1, 9)]

    def _double(self, data: bytearray) -> None:
        start = self._at(data)
        piece = data[start : start + self.chance.randrange(1, 17)]
        data[start:start] = piece * self.chance.choice((1, 2, 50))

    def _insert(self, data: bytearray) -> None:
        extreme = (b"\x00", b"\xff", b"\xc1", b"[" * 300, b"\xdc\xff\xff", b'"', b"\xed\xa0\x80", b"9" * 40)
        start = self._at(data)
        data[start:start] = self.chance.choice(extreme)


CLIENT = [
    PUMP(["1", "1", "room:fuzz", "phx_join", {"a": 1}]),
    PUMP(["1", "2", "room:fuzz", "new_msg", {"b": [1, 2.5, None, "ü"]}]),
    PUMP(["1", "3", "room:fuzz", "echo", {}]),
    PUMP([None, "4", "phoenix", "heartbeat", {}]),
    PUMP(["1", "5", "room:fuzz", "phx_leave", {}]),
    b"\x00\x01\x01\x09\x03" + b"11room:fuzzbin" + b"\x00\x01\x02",
]
BUS = [
    (topic, encode_header(Header(1, kind, "fuzzer", number, "new_msg", codec)), data)
    for number, (topic, kind, codec, data) in enumerate(
        [
            (b"room:by\x00", 1, 0, b'{"a":1}'),
            (b"room:by\x00", 1, 2, PACK({"a": 1})),
            (b"$nodes\x00", 2, 0, placement.encode(placement.Announcement(node="fuzzer", kind="gateway"))),
            (b"$sync:x\x00", 3, 0, b""),
            (b"$presence:presence\x00", 4, 0, PACK([0, 1, 5, None, True])),
            (b"$presence:presence\x00", 4, 0, PACK([2, [0, 1, [[1, "t", "k", {}]], [], False]])),
            (b"$moves\x00", 9, 0, PACK([1, True])),
            (b"$once\x00", 8, 0, PACK([b"x" * 16, 1])),
        ],
        1_000,
    )
]
LINK = [
    PACK([commands.Hello(1, "fuzzer")]),
    PACK([commands.Join(1, "/socket", "room:fuzz", "1", None, "websocket", "v2_json", b"\x80", 0, b"{}")]),
    PACK([commands.Push(1, "2", "echo", 0, b"{}"), commands.Leave(1, "3")]),
    PACK([commands.SocketDown([1], "closed"), commands.Replace(1)]),
]
OPEN = PUMP({"path": "/socket", "params": {"vsn": "2.0.0"}})
UPGRADE = (
    b"GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n"
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x01NULL" + bytes(48)


def frame(payload: bytes, opcode: int) -> bytes:
    """A masked WebSocket frame."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


class Attacks:
    """What is thrown; each method throws one batch and returns how many messages that was."""

    def __init__(
        self, mesh: Mesh, port: int, mutate: Mutator, context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        self._mesh = mesh
        self._port = port
        self._mutate = mutate
        self._context = context
        self._bus = self._socket(zmq.PUB, mesh.proxy)

    def all(self) -> list[Callable[[], int]]:
        """Every kind."""
        return [self.websocket, self.http, self.zeromq_client, self.bus, self.link, self.stranger]

    def websocket(self) -> int:
        """Good upgrade, broken messages and broken frames."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 5) as sock:
            sock.sendall(UPGRADE)
            sock.recv(4096)
            for number in range(BATCH):
                message = self._mutate.chance.choice(CLIENT)
                ready = frame(self._mutate(message)[:60_000], 2 if message[:1] == b"\x00" else 1)
                sock.sendall(self._mutate(ready) if number % 20 == 19 else ready)
        return BATCH

    def http(self) -> int:
        """Broken requests."""
        for _ in range(BATCH // 10):
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), 5) as sock,
            ):
                sock.sendall(self._mutate(UPGRADE))
        return BATCH // 10

    def zeromq_client(self) -> int:
        """Broken openings, messages and kinds."""
        dealer = self._socket(zmq.DEALER, self._mesh.zeromq)
        dealer.send_multipart([b"O", OPEN])
        for _ in range(BATCH):
            kind = self._mutate.chance.choice((b"T", b"T", b"B", b"P", b"C", b"O", b"x", b""))
            content = OPEN if kind == b"O" else self._mutate.chance.choice(CLIENT)
            self._send(dealer, [kind, self._mutate(content)])
        dealer.close(1_000)
        return BATCH

    def bus(self) -> int:
        """Broken topics, headers and payloads, from somebody who may publish."""
        for _ in range(BATCH):
            parts = list(self._mutate.chance.choice(BUS))
            broken = self._mutate.chance.randrange(3)
            parts[broken] = self._mutate(parts[broken])
            self._send(self._bus, parts[: self._mutate.chance.choice((3, 3, 3, 3, 2, 1))])
        return BATCH

    def link(self) -> int:
        """Broken batches, from somebody who says he is a gateway."""
        dealer = self._socket(zmq.DEALER, self._mesh.link)
        dealer.send(LINK[0])
        for _ in range(BATCH):
            self._send(dealer, [self._mutate(self._mutate.chance.choice(LINK))])
        dealer.close(1_000)
        return BATCH

    def stranger(self) -> int:
        """Broken ZeroMQ greetings at every ZeroMQ port."""
        ports = (self._mesh.proxy, self._mesh.proxy + 1, self._mesh.link, self._mesh.zeromq)
        for _ in range(BATCH // 20):
            for port in ports:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
                    sock.sendall(self._mutate(GREETING) + self._mutate(CLIENT[0]))
        return BATCH // 20 * len(ports)

    def _socket(self, kind: int, port: int) -> zmq.Socket[bytes]:
        made = self._context.socket(kind)
        made.setsockopt(zmq.SNDTIMEO, 2_000)
        made.connect(f"tcp://127.0.0.1:{port}")
        return made

    @staticmethod
    def _send(to: zmq.Socket[bytes], frames: list[bytes]) -> None:
        with contextlib.suppress(zmq.Again):
            to.send_multipart(frames)


class Bystander:
    """A client that must notice nothing."""

    def __init__(self, room: ClientChannel) -> None:
        self.worst = 0.0
        self.asked = 0
        self._room = room
        self._heard = asyncio.Event()
        self._wanted = ""
        room.on("new_msg", self._hear)

    def _hear(self, payload: dict[str, str]) -> None:
        if payload.get("n") == self._wanted:  # the fuzzer broadcasts here as well
            self._heard.set()

    async def ask(self) -> None:
        """A push is answered, and a broadcast comes back."""
        self.asked += 1
        began = time.monotonic()
        self._wanted = f"bystander {self.asked}"
        self._heard.clear()
        async with asyncio.timeout(ANSWER_SECONDS):
            assert await self._room.push("echo", {"n": self.asked}) == {"n": self.asked}
            await self._room.cast("new_msg", {"n": self._wanted})
            await self._heard.wait()
        self.worst = max(self.worst, time.monotonic() - began)


async def run(options: argparse.Namespace, mesh: Mesh) -> None:
    """The whole experiment."""
    port = await mesh.gateway_port()
    mutate = Mutator(options.seed)
    left: list[str] = []
    async with Client(f"ws://127.0.0.1:{port}/socket", wait_for_server=True) as client:
        client.on_close(lambda code, reason: left.append(f"connection closed: {code} {reason}"))
        room = await client.join("room:by")
        room.on_state(lambda state, reason: left.append(f"channel {state}: {reason}"))
        bystander = Bystander(room)
        with zmq.Context() as context:
            context.linger = 0
            attacks = Attacks(mesh, port, mutate, context)
            before = {name: mesh.kilobytes(name) for name in mesh.nodes}
            async for name, thrown in throw(attacks, mutate, options.messages, bystander):
                print(f"{thrown:9}  {name}", flush=True)
            context.destroy(0)
        room.on_state(lambda *_: None)
        seen = list(left)
    for name, node in mesh.nodes.items():
        growth = mesh.kilobytes(name) - before[name]
        faults = mesh.log(name).count(OUR_FAULT)
        print(f"{name:8} alive: {node.poll() is None}, grew by {growth} kB, errors of its own: {faults}")
        if node.poll() is not None or growth > MAX_GROWTH_KILOBYTES or faults:
            seen.append(name)
    print(
        f"bystander: asked {bystander.asked} times, answered after {bystander.worst * 1000:.0f} ms at most"
    )
    if seen:
        sys.exit(f"noticed: {json.dumps(seen)}; seed {options.seed}")


async def throw(
    attacks: Attacks, mutate: Mutator, messages: int, bystander: Bystander
) -> AsyncIterator[tuple[str, int]]:
    """Batches of all kinds, and a question to the bystander after each."""
    thrown, shown = dict.fromkeys((each.__name__ for each in attacks.all()), 0), 0
    while sum(thrown.values()) < messages:
        attack = mutate.chance.choice(attacks.all())
        thrown[attack.__name__] += await asyncio.to_thread(attack)
        await bystander.ask()
        if sum(thrown.values()) - shown > messages / 10:
            shown = sum(thrown.values())
            yield "messages so far", shown
    for name, count in thrown.items():
        yield name, count


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Mesh]:
    """A mesh, stopped at the end."""
    mesh = Mesh(directory)
    try:
        yield mesh
    finally:
        mesh.stop()


def main() -> None:
    """Run it, print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=1_000_000, help="to throw, of all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        directory = options.logs or Path(name)
        directory.mkdir(exist_ok=True)
        with running(directory) as mesh:
            asyncio.run(run(options, mesh))


if __name__ == "__main__":
    main()
