"""The deadlines of a client's session."""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Any


class Timers:
    """Deadlines in seconds of any clock. Each is also an attribute of what it is for."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any, str]] = []
        self._numbers = count()

    def arm(self, of: Any, name: str, when: float) -> None:
        """Set the attribute `name` of `of`, a deadline; to take it back, set that to None."""
        setattr(of, name, when)
        heapq.heappush(self._heap, (when, next(self._numbers), of, name))

    @property
    def next(self) -> float | None:
        """The earliest."""
        heap = self._heap
        while heap and getattr(heap[0][2], heap[0][3]) != heap[0][0]:
            heapq.heappop(heap)  # taken back meanwhile
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[tuple[Any, str]]:
        """(of, name) of each that is reached, also if it was armed between two of them."""
        while self._heap and self._heap[0][0] <= now:
            when, _, of, name = heapq.heappop(self._heap)
            if getattr(of, name) == when:
                setattr(of, name, None)
                yield of, name
