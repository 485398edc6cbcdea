"""The messages sent through one proxy that must be sent again if this proxy is lost. Pure.

**How long a message is kept.** A message is discarded when two conditions hold: a probe sent after it has
come back, so the proxy has accepted it; and `seconds` have passed since it was sent, so the proxy has
forwarded it, too, or the nodes that it cannot reach have announced this. Memory is bounded by
MAX_KEPT_MESSAGES and MAX_KEPT_BYTES; beyond this the oldest are discarded early.

**Which clock.** Only time in which this process runs counts. A process that was frozen or suspended does
not know yet that a proxy failed in the meantime, so it must not discard messages because of the time that
passed.

Time is an argument, in seconds of any one clock.
"""

from collections import deque
from typing import NamedTuple

MAX_KEPT_MESSAGES = 65_536
"""The most messages that are kept for one proxy."""
MAX_KEPT_BYTES = 64_000_000
"""The most bytes of their payloads."""
MIN_KEPT_SECONDS = 1.0
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
        published_at: when it was published, in seconds.
        resent: whether it was sent before and may have been lost.
    """

    sequence: int
    topic: str
    frames: list[bytes]
    published_at: float
    resent: bool = False


class ResendBuffer:
    """The messages that may be lost with one proxy. A position is the number of messages added until then.

    Args:
        seconds: how long a message is kept after it was sent.
    """

    def __init__(self, seconds: float = MIN_KEPT_SECONDS) -> None:
        self.position = 0
        self._seconds = seconds
        self._messages: deque[NumberedMessage] = deque()
        self._positions: dict[int, int] = {}  # position of each message, by its number
        self._bytes = 0
        self._confirmed = 0
        self._last_tick: float | None = None
        self._running_seconds = 0.0  # the time during which this process ran
        self._checkpoints: deque[tuple[float, int]] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: NumberedMessage) -> None:
        """Add a message that was sent after all earlier ones."""
        self.position += 1
        self._messages.append(message)
        self._positions[message.sequence] = self.position
        self._bytes += len(message.frames[2])
        if len(self._messages) > MAX_KEPT_MESSAGES or self._bytes > MAX_KEPT_BYTES:
            self._discard_oldest()

    def confirm_up_to(self, position: int) -> None:
        """The proxy has accepted all messages up to this position."""
        self._confirmed = max(self._confirmed, position)

    def tick(self, now: float) -> None:
        """Discard the messages that the proxy has accepted and, by now, forwarded."""
        if self._last_tick is not None:
            self._running_seconds += min(now - self._last_tick, MAX_TICK_SECONDS)
        self._last_tick = now
        long_ago = self._running_seconds - self._seconds
        self._checkpoints.append((self._running_seconds, self.position))
        while len(self._checkpoints) > 1 and self._checkpoints[1][0] <= long_ago:
            self._checkpoints.popleft()
        when, old = self._checkpoints[0]
        safe = min(old, self._confirmed) if when <= long_ago else 0
        for _ in range(len(self._messages) - (self.position - safe)):
            self._discard_oldest()

    def has_unconfirmed(self, first: int, last: int) -> bool:
        """Return whether the proxy has not confirmed one of the messages with these numbers."""
        positions, taken = self._positions, self._confirmed
        return any(positions.get(number, 0) > taken for number in range(first, last + 1))

    def take_all(self) -> list[NumberedMessage]:
        """Remove and return all messages that may be lost, to be sent again through other proxies."""
        messages = list(self._messages)
        self._messages.clear()
        self._positions.clear()
        self._checkpoints.clear()
        self._bytes = 0
        return messages

    def _discard_oldest(self) -> None:
        message = self._messages.popleft()
        self._bytes -= len(message.frames[2])
        if self._positions.get(message.sequence, 0) <= self.position - len(self._messages):
            self._positions.pop(message.sequence, None)
