"""Real nodes that keep histories, while a program on the bus and clients send what they should not."""

import asyncio
from contextlib import AsyncExitStack

import msgspec
import pytest
import zmq

from mesh.bus.discovery import placement
from mesh.bus.frames import ANNOUNCEMENT, BROADCAST, CALL, RECORDED
from mesh.client import Client, History, JoinRefused
from tests.support.processes import cluster
from tests.support.until import PATIENCE
from tests.support.websocket import run

APP = "tests.support.history_app:endpoint"
PACK = msgspec.msgpack.encode
TOPICS = [f"room:{number}" for number in range(4)]
LOG = ["e" * 12, 7, "nobody", 1, [[1, "msg", 0, b"9", "p", 1, 0.0]], {"p": 1}]
POSITIONS = [
    ["x" * 12, 2**53, 2**53, "", 0], ["x" * 12, 1, 2**53, "nobody", 2**63], ["x" * 64, 2, 5, "", 0], ["x" * 65, 1, 9, "", 0],
    ["", 1, 9, "", 0], ["\n\0:\x7f", 1, 9, "", 0], ["x", -1, 9, "", 0], ["x", 1, 2**53 + 1, "", 0], ["x", 1.5, 9, "", 0],
    ["x", 1, 9, 5, 0], ["x", 1, 9, "", -5], ["x", 1], [], None, 5, "x:1", {"x": 1},
]  # fmt: skip
MALFORMED = [
    1, "last", [], True, {"last": 0}, {"last": -1}, {"last": "5"}, {"last": 1.0}, {"last": True}, {"epoch": "e"},
    {"offset": 1}, {"epoch": "e", "offset": -1}, {"epoch": "e", "offset": 2**53 + 1}, {"epoch": "e", "offset": "1"},
    {"epoch": "e" * 65, "offset": 1}, {"epoch": 5, "offset": 1}, {"epoch": "e", "offset": 1, "last": 1}, {"epoch": "e" * 100_000, "offset": 1},
]  # fmt: skip
UNKNOWN = [
    {"epoch": "", "offset": 0},
    {"epoch": "\n\0\x7f:", "offset": 2**53},
    {"epoch": "e" * 64, "offset": 0},
]


class Program:
    """A program on the bus that is no node of the mesh."""

    def __init__(self, running):
        address = running.status["proxies"][0]["address"]
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.connect(address)
        self._ear = self._context.socket(zmq.SUB)
        self._ear.connect(f"{address}.sub")
        self._ear.subscribe(b"$nodes\0")
        self._sequence = 0

    def workers(self):
        """The ids of all workers."""
        found = set()
        while len(found) < 2:
            assert self._ear.poll(10_000)
            announcement = placement.decode(self._ear.recv_multipart()[2])
            if announcement.kind == "worker":
                found.add(announcement.node)
        return found

    def send(self, topic, kind, event="", data=b"{}", sender=None, *more, codec=0):
        self._sequence += 1
        header = [1, kind, "nobody", self._sequence, event, codec, sender, *more]
        self._socket.send_multipart([topic.encode() + b"\0", PACK(header), data])

    def hurt(self, topic, workers):
        for position in POSITIONS:
            for event in ("msg", "", "phx_close", "disconnect", "e" * 5_000):
                for age in (None, 5):
                    self.send(topic, RECORDED, event, b'{"forged": 1}', None, age, position)
        for sender in (5, [], ["g"], ["g", 1, True, 2**63], ["g", -1, 5, None]):
            self.send(topic, RECORDED, "msg", b"{}", sender, None, POSITIONS[0])
        for payload in (b"", b"{", b"\xff", b"[" * 2_000, b'{"a": NaN}'):
            self.send(topic, BROADCAST, "msg", payload)
            self.send(topic, RECORDED, "msg", payload, None, None, POSITIONS[0])
        for worker in workers:
            for call in ("give", "settled", "release", "read", "forget", "read_here", "forget_here"):
                for data in (
                    b"",
                    b"\xc1",
                    b"\x91" * 2_000,
                    PACK([1, [[topic, LOG]]]),
                    PACK(["nobody", [topic]]),
                    PACK([]),
                ):
                    self.send(f"$node:{worker}", CALL, f"history.{call}", PACK((0, data)))
        for history in ([], [["", ""]], [["/socket"]], 5, [["/socket", 5]], [["\0", "*" * 10_000]] * 50):
            data = {
                "version": 1,
                "node": f"fake {history!r:.9}",
                "kind": "worker",
                "state": "up",
                "history": history,
            }
            self.send("$nodes", ANNOUNCEMENT, data=PACK(data))

    def close(self):
        self._context.destroy(1_000)


@pytest.fixture
def running(tmp_path):
    with cluster(tmp_path, APP, gateways=1, workers=2) as running:
        yield running


async def join(stack, running, topic, gaps, last=None):
    client = await stack.enter_async_context(Client(running.urls[0].replace("http", "ws") + "/socket"))
    return await client.join(topic, history=History(last=last, on_gap=gaps.append))


async def numbers(room, count):
    """What a reader of a room receives, without what is forged."""
    seen = []
    async with asyncio.timeout(PATIENCE):
        async for _, payload in room:
            if "n" in payload:
                seen.append(payload["n"])
                if len(seen) == count:
                    return seen


def test_a_program_on_the_bus_hurts_no_history(running):
    async def scenario():
        program, gaps = Program(running), []
        workers = await asyncio.to_thread(program.workers)
        async with AsyncExitStack() as stack:
            rooms = [await join(stack, running, topic, gaps) for topic in TOPICS]
            for number in range(30):
                for room in rooms:
                    await room.push("say", {"n": number})
                program.hurt(TOPICS[number % 2], workers)
                program.hurt("room:unused", workers)
            for room in rooms:
                assert await numbers(room, 30) == list(range(30))
            new = await join(stack, running, "room:unused", gaps)
            await new.push("say", {"n": 1})
            assert await numbers(new, 1) == [1]
            old = await join(stack, running, TOPICS[0], gaps, last=1_000)
            assert await numbers(old, 30) == list(range(30))
        assert gaps == []
        program.close()

    run(scenario())


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_malformed_requests_refuse_the_join_and_unknown_positions_are_told(running, format):
    async def scenario():
        async with Client(f"{running.urls[0].replace('http', 'ws')}/socket", format=format) as client:
            for asked in MALFORMED:
                with pytest.raises(JoinRefused) as refused:
                    await client.join("room:1", {"history": asked})
                assert refused.value.response["reason"].startswith("history")
                assert len(refused.value.response["reason"]) < 250
            for asked in UNKNOWN:
                room = await client.join("room:1", {"history": asked})
                async for event, payload in room:
                    assert event == "history_state"
                    assert (payload["recovered"], payload["count"]) == (False, 0)
                    break
                await room.leave()

    run(scenario())
