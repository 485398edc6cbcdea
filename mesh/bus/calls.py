"""Calls: requests to one node and their answers, over the bus.

They are used for rare requests that only one node can answer, such as a long-poll request that arrived at
another gateway than the one that holds its session. When a proxy is lost, calls and answers are sent again
as broadcasts are. Against other losses the caller sends reminders, "call.again": the called node repeats
its answer, or reports that it never received the call, which is then sent again. A call is carried out only
once (mesh/bus/answers.py). `Calls` is the calling side, `Responder` the answering side.
"""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count

import msgspec

from mesh.app import topics
from mesh.bus.answers import Answers
from mesh.bus.contract import Bus, OnMessage
from mesh.bus.decoding import decoder
from mesh.bus.frames import ANSWER, CALL, Header
from mesh.errors import NodeGoneError, WireError
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "call dropped")

AGAIN = "call.again"
FIRST_REMINDER_SECONDS = 1.0
LAST_REMINDER_SECONDS = 8.0
"""The pause before a reminder doubles each time; the reminder after a pause of this length is the last."""

Answer = Callable[[bytes], Awaitable[bytes]]
"""Answers a call. It must not raise: if it does, the error is logged and the caller times out."""

_encode = msgspec.msgpack.Encoder().encode
decode = decoder(tuple[int, bytes], "a numbered call or answer")
"""Reads the number of a call, and the data of the call or answer. Raises WireError for anything else."""
_decode_repeated = decoder(tuple[str, bytes], "a repeated call")

_numbers = count(1)
"""Shared by all calls of this process, so that no two calls of one node have the same number."""


class _Asked:
    """A call that waits for its answer."""

    __slots__ = ("answer", "data", "name", "node", "timer")

    def __init__(self, node: str, name: str, data: bytes) -> None:
        self.node = node
        self.name = name
        self.data = data
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.timer: asyncio.TimerHandle | None = None

    def fail(self) -> None:
        """End the wait: the called node has stopped."""
        if not self.answer.done():
            self.answer.set_exception(NodeGoneError(f"{self.node} has stopped: no answer to {self.name}"))
            self.answer.exception()  # marks it as retrieved: the caller may have been cancelled


class Calls:
    """The calls of one node.

    Args:
        bus: the node's bus.
        is_gone: returns whether a node is known to have stopped; calls to it fail at once. None: unknown.
    """

    def __init__(self, bus: Bus, is_gone: Callable[[str], bool] | None) -> None:
        self._bus = bus
        self._is_gone = is_gone
        self._asked: dict[int, _Asked] = {}

    @property
    def handlers(self) -> dict[int, OnMessage]:
        """The handlers that the node's bus must be started with, by kind of message."""
        return {ANSWER: self.on_answer}

    async def call(self, node: str, name: str, data: bytes, timeout_seconds: float) -> bytes:
        """Call `node` and return its answer.

        Raises:
            NodeGoneError: a TimeoutError, as soon as the node is known to have stopped.
            TimeoutError: if it does not answer in time.
        """
        if self._is_gone is not None and self._is_gone(node):
            raise NodeGoneError(f"{node} has stopped: no answer to {name}")
        number = next(_numbers)
        asked = self._asked[number] = _Asked(node, name, data)
        try:
            _say(self._bus, CALL, node, name, number, data)
            self._remind_later(number, asked, FIRST_REMINDER_SECONDS)
            async with asyncio.timeout(timeout_seconds):
                return await asked.answer
        finally:
            del self._asked[number]
            if asked.timer is not None:
                asked.timer.cancel()

    def tell(self, node: str, name: str, data: bytes) -> None:
        """As `call`, but without an answer."""
        _say(self._bus, CALL, node, name, 0, data)

    def gone(self, node: str) -> None:
        """Fail all calls to a node that has stopped."""
        for asked in self._asked.values():
            if asked.node == node:
                asked.fail()

    def close(self) -> None:
        """Cancel all calls."""
        for asked in self._asked.values():
            asked.answer.cancel()

    def _remind_later(self, number: int, asked: _Asked, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        asked.timer = loop.call_later(seconds, self._remind, number, asked, seconds)

    def _remind(self, number: int, asked: _Asked, seconds: float) -> None:
        if self._is_gone is not None and self._is_gone(asked.node):
            return asked.fail()
        _say(self._bus, CALL, asked.node, AGAIN, number, b"")
        if seconds < LAST_REMINDER_SECONDS:
            self._remind_later(number, asked, 2 * seconds)

    def on_answer(self, header: Header, data: bytes) -> None:
        """Handle an ANSWER."""
        read = _read(header, data)
        asked = self._asked.get(read[0]) if read is not None else None
        if read is None or asked is None or asked.answer.done():
            return
        if header.event == AGAIN:  # it never received the call
            counters.count("bus_calls_repeated")
            _say(self._bus, CALL, asked.node, AGAIN, read[0], _encode((asked.name, asked.data)))
        else:
            asked.answer.set_result(read[1])


class Responder:
    """Answers the calls of other nodes.

    Args:
        bus: the node's bus.
        find: returns the function that answers calls of a name; None for an unknown name, which is ignored.
    """

    def __init__(self, bus: Bus, find: Callable[[str], Answer | None]) -> None:
        self._bus = bus
        self._find = find
        self._carried_out = Answers()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def handlers(self) -> dict[int, OnMessage]:
        """The handlers that the node's bus must be started with, by kind of message."""
        return {CALL: self.on_call}

    def close(self) -> None:
        """Cancel all answers."""
        for task in self._tasks:
            task.cancel()

    def on_call(self, header: Header, data: bytes) -> None:
        """Handle a CALL."""
        read = _read(header, data)
        if read is None:
            return
        number, asked = read
        if header.event == AGAIN:
            self._called_again(header, number, asked)
            return
        before = self._carried_out.get((header.origin, number))
        if before is None or not before.repeated:  # otherwise the original arrives after its repetition
            self._carry_out(header.origin, header.event, number, asked)

    def _called_again(self, header: Header, number: int, asked: bytes) -> None:
        key = header.origin, number
        before = self._carried_out.get(key)
        if before is not None:
            if before.answer is not None:
                counters.count("bus_calls_repeated")
                _say(self._bus, ANSWER, header.origin, before.name, number, before.answer)
        elif self._carried_out.never_came(key, asyncio.get_running_loop().time()):
            if not asked:
                _say(self._bus, ANSWER, header.origin, AGAIN, number, b"")
                return
            try:
                name, question = _decode_repeated(asked)
            except WireError as error:
                _malformed_call(header, error)
                return
            self._carry_out(header.origin, name, number, question, repeated=True)

    def _carry_out(self, node: str, name: str, number: int, asked: bytes, repeated: bool = False) -> None:
        answer = self._find(name)
        if answer is None:
            return
        loop = asyncio.get_running_loop()
        if number:
            self._carried_out.begin((node, number), name, loop.time(), repeated)
        task = loop.create_task(self._answer(node, name, number, answer(asked)), name=name)
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
            self._carried_out.done((node, number), data)
            _say(self._bus, ANSWER, node, name, number, data)


def _say(bus: Bus, kind: int, node: str, name: str, number: int, data: bytes) -> None:
    bus.publish_kind(kind, topics.of_node(node), name, 0, _encode((number, data)))


def _read(header: Header, data: bytes) -> tuple[int, bytes] | None:
    try:
        return decode(data)
    except WireError as error:
        _malformed_call(header, error)
        return None


def _malformed_call(header: Header, error: WireError) -> None:
    _malformed.about(header.origin, "bus_messages_malformed", str(error), call=header.event)
