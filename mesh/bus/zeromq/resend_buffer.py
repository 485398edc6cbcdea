"""The messages sent through one proxy that must be sent again if this proxy is lost. Pure.

**How long a message is kept.** A message is discarded when two conditions hold: a probe sent after it has
come back, so the proxy has accepted it; and `seconds` have passed since it was sent, so the proxy has
forwarded it, too, or the nodes that it cannot reach have announced this. Memory is bounded by RESENT
messages and RESENT_BYTES; beyond this the oldest are discarded early.

**Which clock.** Only time in which this process runs counts. A process that was frozen or suspended does
not know yet that a proxy failed in the meantime, so it must not discard messages because of the time that
passed.

Time is an argument, in seconds of any one clock.
"""

from collections import deque
from typing import NamedTuple

RESENT = 65_536
"""The most messages that are kept for one proxy."""
RESENT_BYTES = 64_000_000
"""The most bytes of their payloads."""
RESENT_SECONDS = 1.0
"""How long a message is kept after it was sent, even if the proxy has accepted it. A node adds the time
within which another node notices that it no longer receives from a proxy
(mesh/bus/zeromq/proxy_connection.py)."""
MAX_TICK_SECONDS = 0.5
"""A longer time between two ticks counts as this. A process that was frozen for longer has not noticed yet
that a proxy was lost in the meantime, and must not discard the messages that it sent through it."""


class NumberedMessage(NamedTuple):
    """A published message.

    Attributes:
        sequence: its number.
        topic: its topic.
        frames: its frames, as they were sent.
        published: when it was published, in seconds.
        again: whether it was sent before and may have been lost.
    """

    sequence: int
    topic: str
    frames: list[bytes]
    published: float
    again: bool = False


class ResendBuffer:
    """The messages that may be lost with one proxy. A position is the number of messages added until then.

    Args:
        seconds: how long a message is kept after it was sent.
    """

    def __init__(self, seconds: float = RESENT_SECONDS) -> None:
        self.position = 0
        self._seconds = seconds
        self._messages: deque[NumberedMessage] = deque()
        self._positions: dict[int, int] = {}  # position of each message, by its number
        self._bytes = 0
        self._taken = 0
        self._ticked: float | None = None
        self._running = 0.0  # seconds during which this process ran
        self._marks: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: NumberedMessage) -> None:
        """Add a message that was sent after all earlier ones."""
        self.position += 1
        self._messages.append(message)
        self._positions[message.sequence] = self.position
        self._bytes += len(message.frames[2])
        if len(self._messages) > RESENT or self._bytes > RESENT_BYTES:
            self._drop()

    def taken(self, position: int) -> None:
        """The proxy has accepted all messages up to this position."""
        self._taken = max(self._taken, position)

    def tick(self, now: float) -> None:
        """Discard the messages that the proxy has accepted and, by now, forwarded."""
        if self._ticked is not None:
            self._running += min(now - self._ticked, MAX_TICK_SECONDS)
        self._ticked = now
        long_ago = self._running - self._seconds
        self._marks.append((self._running, self.position))
        while len(self._marks) > 1 and self._marks[1][0] <= long_ago:
            self._marks.popleft()
        when, old = self._marks[0]
        safe = min(old, self._taken) if when <= long_ago else 0
        for _ in range(len(self._messages) - (self.position - safe)):
            self._drop()

    def untaken(self, first: int, last: int) -> bool:
        """Return whether the proxy has not confirmed one of the messages with these numbers."""
        positions, taken = self._positions, self._taken
        return any(positions.get(number, 0) > taken for number in range(first, last + 1))

    def take_all(self) -> list[NumberedMessage]:
        """Remove and return all messages that may be lost, to be sent again through other proxies."""
        messages = list(self._messages)
        self._messages.clear()
        self._positions.clear()
        self._marks.clear()
        self._bytes = 0
        return messages

    def _drop(self) -> None:
        message = self._messages.popleft()
        self._bytes -= len(message.frames[2])
        if self._positions.get(message.sequence, 0) <= self.position - len(self._messages):
            self._positions.pop(message.sequence, None)
