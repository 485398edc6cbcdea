"""What was sent through one proxy and must be sent again if that proxy is lost. Pure.

Time is an argument, in seconds of any one clock.
"""

from collections import deque
from typing import NamedTuple

RESENT = 65_536
"""Messages that are kept for one proxy to be sent again, at most."""
RESENT_BYTES = 64_000_000
"""Bytes of their payloads, at most."""
RESENT_SECONDS = 1.0
"""What a proxy has taken for certain is kept on for this long: it may not have passed it on. By a node, for
longer by the time in which another node finds out that it hears a proxy no more
(mesh/bus/zeromq/proxy_connection.py)."""
MAX_TICK_SECONDS = 0.5
"""More time than this between two ticks counts as this. A process that stood still for longer has not seen
yet that a proxy has gone meanwhile, and must not forget what it sent through it."""


class NumberedMessage(NamedTuple):
    """One that was published.

    Attributes:
        sequence: its number.
        topic: its topic.
        frames: as it was sent.
        published: when, in seconds.
        again: whether it was sent before, and that may have been in vain.
    """

    sequence: int
    topic: str
    frames: list[bytes]
    published: float
    again: bool = False


class ResendBuffer:
    """What was sent through one proxy and may have been lost with it. Positions count what was added.

    Args:
        seconds: how long what the proxy has taken over is kept.
    """

    def __init__(self, seconds: float = RESENT_SECONDS) -> None:
        self.position = 0
        self._seconds = seconds
        self._messages: deque[NumberedMessage] = deque()
        self._positions: dict[int, int] = {}  # of the messages, by their numbers
        self._bytes = 0
        self._taken = 0
        self._ticked: float | None = None
        self._running = 0.0  # seconds in which this process ran
        self._marks: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: NumberedMessage) -> None:
        """It was sent, after all those before."""
        self.position += 1
        self._messages.append(message)
        self._positions[message.sequence] = self.position
        self._bytes += len(message.frames[2])
        if len(self._messages) > RESENT or self._bytes > RESENT_BYTES:
            self._drop()

    def taken(self, position: int) -> None:
        """The proxy has taken everything up to this position."""
        self._taken = max(self._taken, position)

    def tick(self, now: float) -> None:
        """Time passes: forget what was taken, and passed on since."""
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
        """Whether the proxy has not confirmed one of the messages with these numbers."""
        positions, taken = self._positions, self._taken
        return any(positions.get(number, 0) > taken for number in range(first, last + 1))

    def take_all(self) -> list[NumberedMessage]:
        """Everything that may be lost, to be sent again elsewhere."""
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
