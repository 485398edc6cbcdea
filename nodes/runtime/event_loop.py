"""A node's event loop: asyncio's own, with a selector that reports a few ready sockets at a time.

When thousands of clients send or disconnect at the same moment, asyncio would serve all of them before
anything else: 5,000 disconnections take 100 ms. The kernel reports the remaining sockets next time, in
turn, so that none waits forever (epoll(7): sockets that stay ready are queued again at the end).
"""

import asyncio
import math
import select
import selectors
from collections.abc import Callable
from time import perf_counter

EVENTS_PER_SELECT = 32

if hasattr(select, "epoll"):

    class LimitedSelector(selectors.EpollSelector):
        """Reports at most EVENTS_PER_SELECT events at a time."""

        _selector: select.epoll
        _fd_to_key: dict[int, selectors.SelectorKey]

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """As selectors.EpollSelector.select, which asks for the events of all sockets at once."""
            # Rounded up to whole milliseconds, so that it never returns too early.
            seconds = -1 if timeout is None else math.ceil(max(timeout, 0) * 1e3) * 1e-3
            try:
                found = self._selector.poll(seconds, EVENTS_PER_SELECT)
            except InterruptedError:
                return []
            return [
                (key, _events(event) & key.events)
                for fd, event in found
                if (key := self._fd_to_key.get(fd)) is not None
            ]

    def _events(event: int) -> int:
        """Report an error or a hang-up as both events: reading or writing shows what it is."""
        read = selectors.EVENT_READ if event & ~select.EPOLLOUT else 0
        write = selectors.EVENT_WRITE if event & ~select.EPOLLIN else 0
        return read | write

else:
    LimitedSelector = selectors.DefaultSelector  # type: ignore[misc, assignment]


class Selector(LimitedSelector):
    """Also measures each turn of the loop, from one `select` to the next.

    Attributes:
        on_turn: called at the end of each turn with its duration in seconds, if set.
        woke_at: the perf_counter time at which the last `select` ended.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_turn: Callable[[float], None] | None = None
        self.woke_at = perf_counter()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Report the duration of the turn, then select."""
        if self.on_turn is not None:
            self.on_turn(perf_counter() - self.woke_at)
        found = super().select(timeout)
        self.woke_at = perf_counter()
        return found


class EventLoop(asyncio.SelectorEventLoop):
    """A node's event loop, for asyncio.Runner(loop_factory=EventLoop)."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)
