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

    def arm(self, owner: Any, name: str, when: float) -> None:
        """Set a deadline, the attribute `name` of `owner`; to cancel it, set the attribute to None."""
        setattr(owner, name, when)
        heapq.heappush(self._heap, (when, next(self._numbers), owner, name))

    @property
    def next(self) -> float | None:
        """The earliest deadline, or None."""
        heap = self._heap
        while heap and getattr(heap[0][2], heap[0][3]) != heap[0][0]:
            heapq.heappop(heap)  # cancelled or changed in the meantime
        return heap[0][0] if heap else None

    def due(self, now: float) -> Iterator[tuple[Any, str]]:
        """Yield (owner, name) of each deadline reached, including those set during the iteration."""
        while self._heap and self._heap[0][0] <= now:
            when, _, owner, name = heapq.heappop(self._heap)
            if getattr(owner, name) == when:
                setattr(owner, name, None)
                yield owner, name
