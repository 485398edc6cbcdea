"""The deadlines of a client's session."""

import heapq
from collections.abc import Iterator
from itertools import count
from typing import Any


class Timers:
    """Deadlines in seconds of any clock. Each is also an attribute of the object that it belongs to."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Any, str]] = []
        self._numbers = count()

    def arm(self, of: Any, name: str, when: float) -> None:
        """Set a deadline, the attribute `name` of `of`; to cancel it, set the attribute to None."""
        setattr(of, name, when)
        heapq.heappush(self._heap, (when, next(self._numbers), of, name))

    @property
    def next(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap and getattr(heap[0][2], heap[0][3]) != heap[0][0]:
            heapq.heappop(heap)  # cancelled or changed in the meantime
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[tuple[Any, str]]:
        """Yield (of, name) of each deadline that is reached, including those armed during the iteration."""
        while self._heap and self._heap[0][0] <= now:
            when, _, of, name = heapq.heappop(self._heap)
            if getattr(of, name) == when:
                setattr(of, name, None)
                yield of, name
