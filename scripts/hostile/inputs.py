"""The hostile inputs for a mesh of a proxy, a worker and a gateway.

An input returns what its attacker observed, and what was wrong with that. The effects on the nodes and the
bystander are measured in watch.py.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgspec

from harness.nodes import Nodes
from harness.websocket import TEXT, HungUp, WebSocket, upgrade
from hostile import zmtp
from hostile.foreign_worker import ForeignWorker

CLAIMED_IDS = 64
FIRST_RAND = 0x6B8B4567
"""The first result of the C library's `rand` without a seed, from which libzmq numbers its peers."""
ANSWER_SECONDS = 120.0
HELLO_SECONDS = 8.0
MAX_HELLOS = 8
MAX_INNOCENT_CRASHES = 3
FRAGMENTS, FEW_FRAGMENTS = 400_000, 70_000
"""The smaller number still exceeds `gateway.max_fragments`."""
BODIES, BODY_BYTES = 100, 8_000_000
JOINS = 9_000


@dataclass
class Observation:
    """What an input observed.

    Attributes:
        summary: a description for the report.
        wrong: the observations that must not occur.
    """

    summary: str = ""
    wrong: list[str] = field(default_factory=list)

    def require(self, holds: bool, otherwise: str) -> None:
        """Note what is wrong, unless the condition holds."""
        if not holds:
            self.wrong.append(otherwise)


Input = Callable[[Nodes, float], Awaitable[Observation]]


async def routing_ids(nodes: Nodes, scale: float) -> Observation:
    """Claim the routing ids that libzmq assigns next on a worker's link; then connect anonymous peers."""
    return await asyncio.to_thread(_claim, nodes.link)


def _claim(port: int) -> Observation:
    with contextlib.ExitStack() as stack:
        for number in range(FIRST_RAND, FIRST_RAND + CLAIMED_IDS):
            claimed = b"\x00" + number.to_bytes(4, "big")
            stack.enter_context(contextlib.closing(zmtp.peer(port, claimed)))
        refused = 0
        for _ in range(CLAIMED_IDS):
            try:
                anonymous = stack.enter_context(contextlib.closing(zmtp.peer(port, b"")))
                anonymous.recv(64)
            except OSError:
                refused += 1
        connected = CLAIMED_IDS - refused
        seen = Observation(
            f"{CLAIMED_IDS} ids claimed, {connected} of {CLAIMED_IDS} anonymous peers could connect"
        )
        seen.require(not refused, f"{refused} peers could not connect")
        return seen


async def unreadable_batch(nodes: Nodes, scale: float) -> Observation:
    """Answer a join with an unreadable batch of commands; another channel of that worker must survive."""
    seen = Observation()
    with foreign_worker(nodes) as worker:
        innocent = await _joined(nodes, "remote:innocent")
        joining = await WebSocket.connect(nodes.port)
        ref = joining.send("remote:unreadable", "phx_join", {})
        crashes = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HELLO_SECONDS):
                while True:
                    if (await innocent.receive())[3] == "phx_error":
                        crashes += 1
                        innocent.send("remote:innocent", "phx_join", {})
        answer = await _answer(joining, ref)
        seen.summary = (
            f"{worker.hellos} Hellos, the innocent channel crashed {crashes} times, the join got {answer}"
        )
        seen.require(worker.hellos <= MAX_HELLOS, f"{worker.hellos} Hellos in {HELLO_SECONDS:g} s")
        seen.require(crashes <= MAX_INNOCENT_CRASHES, f"an innocent channel crashed {crashes} times")
        seen.require(answer.startswith("error"), "the join was not answered")
        innocent.hang_up()
        joining.hang_up()
    return seen


async def bad_command(nodes: Nodes, scale: float) -> Observation:
    """Answer one push with text in place of bytes; another channel on the same link must survive."""
    seen = Observation()
    with foreign_worker(nodes):
        innocent = await _joined(nodes, "remote:innocent")
        struck = await _joined(nodes, "remote:struck")
        struck.send("remote:struck", "text_for_bytes", {})
        ended = await _event(struck, "phx_error")
        answer = await _answer(innocent, innocent.send("remote:innocent", "echo", {"n": 1}))
        seen.summary = f"its channel {'crashed' if ended else 'lives'}, the other one was answered {answer}"
        seen.require(ended, "the channel with the bad command did not crash")
        seen.require(answer == "ok {'n': 1}", f"the other channel of the link was answered {answer}")
        innocent.hang_up()
        struck.hang_up()
    return seen


async def payloads(nodes: Nodes, scale: float) -> Observation:
    """Reply with invalid JSON, broadcast it, and broadcast an event that is reserved for the protocol."""
    seen = Observation()
    with foreign_worker(nodes) as worker:
        client = await _joined(nodes, "remote:struck")
        worker.publish("remote:struck", "cut", b'{"n":')
        worker.publish("remote:struck", "phx_close", b"{}")
        worker.publish("remote:struck", "whole", b'{"n":1}')
        events = []
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                while "whole" not in events:
                    events.append((await client.receive())[3])
            for event in ("not_json", "empty"):
                client.send("remote:struck", event, {})
            await _answer(client, client.send("remote:struck", "echo", {}))
        except msgspec.DecodeError as error:
            seen.wrong.append(f"a broken frame reached the client: {error}")
        except TimeoutError:
            seen.wrong.append("the broadcast after the broken ones did not arrive")
        seen.summary = f"the client heard {', '.join(events) or 'nothing'}"
        seen.require(not {"cut", "phx_close"} & set(events), f"the client heard {', '.join(events)}")
        client.hang_up()
    return seen


async def fragments(nodes: Nodes, scale: float) -> Observation:
    """Send an endless message in fragments of two bytes, and another in empty fragments."""
    count = max(int(FRAGMENTS * scale), FEW_FRAGMENTS)
    answers = await asyncio.gather(
        *(asyncio.to_thread(_fragments, nodes.port, part, count) for part in (b"ab", b""))
    )
    seen = Observation(f"fragments of two bytes: {answers[0]}; of none: {answers[1]}")
    seen.require("close frame" in answers[0] and "close frame" in answers[1], "not closed with a code")
    return seen


def _fragments(port: int, part: bytes, count: int) -> str:
    """Send endless fragments; return how the connection ended."""
    fragment = bytes((0, 0x80 | len(part))) + bytes(4) + part
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as sock:
        sock.sendall(upgrade())
        sock.recv(4_096)
        try:
            sock.sendall(bytes((TEXT, 0x80)) + bytes(4))
            for _ in range(count // 100):
                sock.sendall(fragment * 100)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the connection is closed; the close frame can still be read
        try:
            answer = sock.recv(4_096)
        except OSError as error:
            return type(error).__name__
    if answer[:1] != b"\x88":
        return f"ended without a close frame after {count} fragments"
    return f"close frame {int.from_bytes(answer[2:4], 'big')} {answer[4:].decode(errors='replace')}"


async def bodies(nodes: Nodes, scale: float) -> Observation:
    """Post large bodies to a path that does not exist, all at once."""
    count = max(int(BODIES * scale), 4)
    answers = await asyncio.gather(*(_post(nodes.port) for _ in range(count)))
    statuses = {answer: answers.count(answer) for answer in sorted(set(answers))}
    seen = Observation(f"{count} bodies of {BODY_BYTES} bytes were answered {statuses}")
    seen.require(not any(answer.startswith("2") for answer in answers), "something was accepted")
    return seen


async def _post(port: int) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    try:
        writer.write(head.encode())
        for _ in range(BODY_BYTES // 100_000):
            writer.write(bytes(100_000))
            await writer.drain()
    except OSError:
        pass  # it was refused before it was read
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return (await reader.readline()).decode().partition(" ")[2].strip() or "closed"
    except (OSError, TimeoutError) as error:
        return type(error).__name__
    finally:
        writer.transport.abort()


async def joins(nodes: Nodes, scale: float) -> Observation:
    """Join one topic thousands of times in one burst."""
    count = int(JOINS * scale)
    client = await WebSocket.connect(nodes.port)
    refs = [client.send("room:burst", "phx_join", {}, join_ref=str(n)) for n in range(1, count + 1)]
    answer = await _answer(client, refs[-1])
    client.hang_up()
    seen = Observation(f"{count} joins, the last one got {answer}")
    seen.require(answer.startswith("ok"), f"the last join got {answer}")
    return seen


def foreign_worker(nodes: Nodes) -> ForeignWorker:
    """Return a worker for `remote:*`, for one input."""
    return ForeignWorker(f"tcp://127.0.0.1:{nodes.proxy}")


async def _joined(nodes: Nodes, topic: str) -> WebSocket:
    """Return a client that has joined a topic, as soon as there is a worker for it."""
    client = await WebSocket.connect(nodes.port)
    async with asyncio.timeout(ANSWER_SECONDS):
        while True:
            with contextlib.suppress(HungUp):
                await client.join(topic)
                return client


async def _event(client: WebSocket, event: str) -> bool:
    """Return whether the event arrives."""
    with contextlib.suppress(TimeoutError, HungUp):
        async with asyncio.timeout(ANSWER_SECONDS):
            while (await client.receive())[3] != event:
                pass
            return True
    return False


async def _answer(client: WebSocket, ref: str) -> str:
    """Return the status and the response to a message, or why there is none."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await client.reply(ref)
    except (TimeoutError, HungUp) as error:
        return f"no answer ({type(error).__name__} {error})"
    return f"{answer['status']} {answer['response']}"


INPUTS: dict[str, Input] = {
    "routing ids": routing_ids,
    "unreadable batch": unreadable_batch,
    "bad command": bad_command,
    "payloads": payloads,
    "fragments": fragments,
    "bodies": bodies,
    "joins": joins,
}
