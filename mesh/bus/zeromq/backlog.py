"""The messages that wait for a proxy, in the order of their numbers; bounded by count and bytes. Pure."""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from operator import attrgetter

from mesh.bus.zeromq.resend_buffer import NumberedMessage

MAX_BYTES = 64_000_000
"""The most payload bytes, as in the resend buffer (mesh/bus/zeromq/resend_buffer.py)."""
_sequence = attrgetter("sequence")


class Backlog:
    """The messages that wait.

    Args:
        max_messages: the most messages that may wait.
        max_bytes: the most bytes that their payloads may have.

    Attributes:
        messages: the messages that wait; read-only. It is a plain attribute because every broadcast reads
            it.
    """

    def __init__(self, max_messages: int, max_bytes: int = MAX_BYTES) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self.messages: deque[NumberedMessage] = deque()
        self._bytes = 0

    def add(self, message: NumberedMessage) -> bool:
        """Queue a newly published message; return whether there was room for it."""
        size = _size(message)
        if len(self.messages) >= self._max_messages or self._bytes + size > self._max_bytes:
            return False
        self.messages.append(message)
        self._bytes += size
        return True

    def add_lost(self, messages: Iterable[NumberedMessage]) -> None:
        """Queue messages that were sent and may be lost. The bounds do not apply to these."""
        self.messages = deque(sorted((*messages, *self.messages)))
        self._bytes = sum(map(_size, self.messages))

    def remove_first(self) -> None:
        """Remove the first message, which was sent."""
        self._bytes -= _size(self.messages.popleft())

    def has_any(self, first: int, last: int) -> bool:
        """Return whether one of the messages with these numbers waits."""
        index = bisect_left(self.messages, first, key=_sequence)
        return index < len(self.messages) and self.messages[index].sequence <= last


def _size(message: NumberedMessage) -> int:
    return len(message.frames[2])
