"""Questions to one node and their answers, over the bus.

For what must reach a certain node and is rare: a long-poll request that came to another gateway. A
question or its answer may be lost with the proxy; then the asker's time runs out.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import msgspec

from mesh import topics
from mesh.bus.bus import Bus
from mesh.bus.decoding import decoder
from mesh.bus.frames import ANSWER, CALL, Header
from mesh.errors import WireError
from mesh.telemetry import counters, get_logger

log = get_logger("mesh.bus")

Answer = Callable[[bytes], Awaitable[bytes]]

_encode = msgspec.msgpack.Encoder().encode
decode = decoder(tuple[int, bytes], "a question and not an answer")
"""Reads the number of a question, and what is asked or answered. Raises WireError for anything else."""


class Calls:
    """One node's questions and answers.

    Attributes:
        answers: by name of the question: what answers it. It must not raise; if it does, the asker's
            time runs out.
    """

    def __init__(self, bus: Bus, node: str) -> None:
        self.answers: dict[str, Answer] = {}
        self._bus = bus
        self._numbers = count(1)
        self._asked: dict[int, asyncio.Future[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        bus.subscribe(topics.exact(topics.of_node(node)))
        bus.subscriber.on_other[CALL] = self._called
        bus.subscriber.on_other[ANSWER] = self._answered

    async def call(self, node: str, name: str, data: bytes, timeout_seconds: float) -> bytes:
        """Ask `node`. Raises TimeoutError if it does not answer in time."""
        number = next(self._numbers)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        try:
            self._say(CALL, node, name, number, data)
            async with asyncio.timeout(timeout_seconds):
                return await answer
        finally:
            del self._asked[number]

    def tell(self, node: str, name: str, data: bytes) -> None:
        """As `call`, without waiting for the answer."""
        self._say(CALL, node, name, 0, data)

    def close(self) -> None:
        """Answer no more."""
        for task in self._tasks:
            task.cancel()
        for answer in self._asked.values():
            answer.cancel()

    def _say(self, kind: int, node: str, name: str, number: int, data: bytes) -> None:
        self._bus.publisher.publish_kind(kind, topics.of_node(node), name, 0, _encode((number, data)))

    def _called(self, header: Header, data: bytes) -> None:
        read = self._read(header, data)
        answer = self.answers.get(header.event)
        if read is None or answer is None:
            return
        task = asyncio.get_running_loop().create_task(
            self._answer(header.origin, header.event, read[0], answer(read[1])), name=header.event
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, node: str, name: str, number: int, answer: Awaitable[bytes]) -> None:
        try:
            data = await answer
        except Exception as error:
            counters.count("handlers_failed")
            log.error("handling a message failed", call=name, origin=node, exc_info=error)
            return
        if number:
            self._say(ANSWER, node, name, number, data)

    def _answered(self, header: Header, data: bytes) -> None:
        read = self._read(header, data)
        waiting = self._asked.get(read[0]) if read is not None else None
        if read is not None and waiting is not None and not waiting.done():
            waiting.set_result(read[1])

    def _read(self, header: Header, data: bytes) -> tuple[int, bytes] | None:
        try:
            return decode(data)
        except WireError as error:
            counters.count("bus_messages_malformed")
            log.warning("call dropped", call=header.event, origin=header.origin, reason=str(error))
            return None
