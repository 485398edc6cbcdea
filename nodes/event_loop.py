"""The event loop of a node: asyncio's own, with a selector that reports a few ready sockets at a time.

When thousands of clients send or hang up in the same moment, asyncio would serve them all before anything
else: 5,000 that hang up take 100 ms. The kernel reports the others next time. It goes round, so that none
waits for ever (epoll(7): sockets that stay ready queue up again at the end).
"""

import asyncio
import math
import select
import selectors
from collections.abc import Callable
from time import perf_counter

EVENTS_PER_TURN = 32

if hasattr(select, "epoll"):

    class FewAtATime(selectors.EpollSelector):
        """At most EVENTS_PER_TURN at a time."""

        _selector: select.epoll
        _fd_to_key: dict[int, selectors.SelectorKey]

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """As selectors.EpollSelector.select, which asks for an event of every socket there is."""
            # In whole milliseconds, never too early.
            seconds = -1 if timeout is None else math.ceil(max(timeout, 0) * 1e3) * 1e-3
            try:
                found = self._selector.poll(seconds, EVENTS_PER_TURN)
            except InterruptedError:
                return []
            return [
                (key, _events(event) & key.events)
                for fd, event in found
                if (key := self._fd_to_key.get(fd)) is not None
            ]

    def _events(event: int) -> int:
        """An error or a hang-up counts as both: reading or writing tells what it is."""
        read = selectors.EVENT_READ if event & ~select.EPOLLOUT else 0
        write = selectors.EVENT_WRITE if event & ~select.EPOLLIN else 0
        return read | write

else:
    FewAtATime = selectors.DefaultSelector  # type: ignore[misc, assignment]


class Selector(FewAtATime):
    """And knows how long each turn of the loop takes: from one look at the sockets to the next.

    Attributes:
        on_turn: called at the end of each with its seconds, if set.
        woke: when the last look ended, of perf_counter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on_turn: Callable[[float], None] | None = None
        self.woke = perf_counter()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Look, or wait for something to be seen."""
        if self.on_turn is not None:
            self.on_turn(perf_counter() - self.woke)
        found = super().select(timeout)
        self.woke = perf_counter()
        return found


class EventLoop(asyncio.SelectorEventLoop):
    """Of a node. For asyncio.Runner(loop_factory=EventLoop)."""

    def __init__(self) -> None:
        self.selector = Selector()
        super().__init__(self.selector)
