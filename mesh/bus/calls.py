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

CALL_AGAIN = "call.again"
FIRST_REMINDER_SECONDS = 1.0
LAST_REMINDER_SECONDS = 8.0
"""The pause before a reminder doubles each time; the reminder after a pause of this length is the last."""

CallHandler = Callable[[bytes], Awaitable[bytes]]
"""Answers a call. Raises WireError for a malformed call, which is counted and not answered. It must not
raise anything else: if it does, the error is logged and the caller times out."""

_encode = msgspec.msgpack.Encoder().encode
decode = decoder(tuple[int, bytes], "a numbered call or answer")
"""Reads the number of a call, and the data of the call or answer. Raises WireError for anything else."""
_decode_repeated = decoder(tuple[str, bytes], "a repeated call")

_numbers = count(1)
"""Shared by all calls of this process, so that no two calls of one node have the same number."""


class _PendingCall:
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
        self._pending: dict[int, _PendingCall] = {}

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
        pending = self._pending[number] = _PendingCall(node, name, data)
        try:
            _send(self._bus, CALL, node, name, number, data)
            self._schedule_reminder(number, pending, FIRST_REMINDER_SECONDS)
            async with asyncio.timeout(timeout_seconds):
                return await pending.answer
        finally:
            del self._pending[number]
            if pending.timer is not None:
                pending.timer.cancel()

    def cast(self, node: str, name: str, data: bytes) -> None:
        """As `call`, but without an answer."""
        _send(self._bus, CALL, node, name, 0, data)

    def fail_calls_to(self, node: str) -> None:
        """Fail all calls to a node that has stopped."""
        for pending in self._pending.values():
            if pending.node == node:
                pending.fail()

    def close(self) -> None:
        """Cancel all calls."""
        for pending in self._pending.values():
            pending.answer.cancel()

    def _schedule_reminder(self, number: int, pending: _PendingCall, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        pending.timer = loop.call_later(seconds, self._send_reminder, number, pending, seconds)

    def _send_reminder(self, number: int, pending: _PendingCall, seconds: float) -> None:
        if self._is_gone is not None and self._is_gone(pending.node):
            return pending.fail()
        _send(self._bus, CALL, pending.node, CALL_AGAIN, number, b"")
        if seconds < LAST_REMINDER_SECONDS:
            self._schedule_reminder(number, pending, 2 * seconds)

    def on_answer(self, header: Header, data: bytes) -> None:
        """Handle an ANSWER."""
        numbered = _decode_numbered(header, data)
        pending = self._pending.get(numbered[0]) if numbered is not None else None
        if numbered is None or pending is None or pending.answer.done():
            return
        if header.event == CALL_AGAIN:  # it never received the call
            counters.count("bus_calls_repeated")
            _send(
                self._bus,
                CALL,
                pending.node,
                CALL_AGAIN,
                numbered[0],
                _encode((pending.name, pending.data)),
            )
        else:
            pending.answer.set_result(numbered[1])


class Responder:
    """Answers the calls of other nodes.

    Args:
        bus: the node's bus.
        find: returns the function that answers calls of a name; None for an unknown name, which is ignored.
    """

    def __init__(self, bus: Bus, find: Callable[[str], CallHandler | None]) -> None:
        self._bus = bus
        self._find = find
        self._executed = Answers()
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
        numbered = _decode_numbered(header, data)
        if numbered is None:
            return
        number, data = numbered
        if header.event == CALL_AGAIN:
            self._on_reminder(header, number, data)
            return
        earlier = self._executed.get((header.origin, number))
        if earlier is None or not earlier.repeated:  # otherwise the original arrives after its repetition
            self._execute(header.origin, header.event, number, data)

    def _on_reminder(self, header: Header, number: int, repeated_call: bytes) -> None:
        key = header.origin, number
        earlier = self._executed.get(key)
        if earlier is not None:
            if earlier.answer is not None:
                counters.count("bus_calls_repeated")
                _send(self._bus, ANSWER, header.origin, earlier.name, number, earlier.answer)
        elif self._executed.never_received(key, asyncio.get_running_loop().time()):
            if not repeated_call:
                _send(self._bus, ANSWER, header.origin, CALL_AGAIN, number, b"")
                return
            try:
                name, data = _decode_repeated(repeated_call)
            except WireError as error:
                _malformed_call(header, error)
                return
            self._execute(header.origin, name, number, data, repeated=True)

    def _execute(self, node: str, name: str, number: int, data: bytes, repeated: bool = False) -> None:
        handle = self._find(name)
        if handle is None:
            return
        loop = asyncio.get_running_loop()
        if number:
            self._executed.record_call((node, number), name, loop.time(), repeated)
        task = loop.create_task(self._answer(node, name, number, handle, data), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, node: str, name: str, number: int, handle: CallHandler, data: bytes) -> None:
        try:
            answer = await handle(data)
        except WireError as error:
            _malformed.about(node, "bus_messages_malformed", str(error), call=name)
            return
        except Exception as error:
            counters.count("handlers_failed")
            log.error("handling a message failed", call=name, origin=node, exc_info=error)
            return
        if number:
            self._executed.record_answer((node, number), answer)
            _send(self._bus, ANSWER, node, name, number, answer)


def _send(bus: Bus, kind: int, node: str, name: str, number: int, data: bytes) -> None:
    bus.publish_kind(kind, topics.of_node(node), name, 0, _encode((number, data)))


def _decode_numbered(header: Header, data: bytes) -> tuple[int, bytes] | None:
    try:
        return decode(data)
    except WireError as error:
        _malformed_call(header, error)
        return None


def _malformed_call(header: Header, error: WireError) -> None:
    _malformed.about(header.origin, "bus_messages_malformed", str(error), call=header.event)
