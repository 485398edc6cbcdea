"""Remembers the kept broadcasts that have come, but not yet recorded. Pure.

A broadcast of a topic with a history comes twice, unless the recorder of the topic made it: as its
publisher sent it, which is ignored here, and recorded, which is delivered. Between the two, the bus reports
it as delivered although the clients do not have it yet. A command that must follow it (`after`) must wait
for the recorded one, so the numbers in between are kept here, for each topic and origin.

A recorder publishes the broadcasts of one origin to one topic in their order. So a recorded one proves that
the earlier ones have passed as well, or never will. The numbers are in order, and the first of them decides
whether a command must wait.

What is kept is bounded: only origins that send commands matter, a topic is forgotten with its last member,
an origin with its link, and a number once a command has waited for it in vain. Beyond MAX_NUMBERS, the
topic that is known for longest is forgotten; commands then do not wait for its broadcasts.
"""

from bisect import bisect_right

MAX_NUMBERS = 10_000
"""The most numbers of all topics together."""


class Unrecorded:
    """The numbers of ignored broadcasts, by topic and origin; false if there are none."""

    def __init__(self) -> None:
        self._topics: dict[str, dict[str, list[int]]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._topics)

    def __len__(self) -> int:
        return self._count

    def add(self, origin: str, topic: str, sequence: int) -> None:
        """Note a broadcast that will come again, recorded."""
        numbers = self._topics.setdefault(topic, {}).setdefault(origin, [])
        if numbers and numbers[-1] >= sequence:
            return
        numbers.append(sequence)
        self._count += 1
        while self._count > MAX_NUMBERS:
            self.forget_topic(next(iter(self._topics)))

    def awaits(self, origin: str, topic: str, after: int) -> bool:
        """Return whether a broadcast with this number or a lower one has not come recorded yet."""
        numbers = self._topics.get(topic, {}).get(origin)
        return numbers is not None and numbers[0] <= after

    def passed(self, origin: str, topic: str, sequence: int) -> None:
        """Note that a broadcast has come recorded, or is not waited for any longer."""
        origins = self._topics.get(topic)
        numbers = origins.get(origin) if origins is not None else None
        if origins is None or numbers is None:
            return
        number = bisect_right(numbers, sequence)
        del numbers[:number]
        self._count -= number
        if not numbers:
            del origins[origin]
            if not origins:
                del self._topics[topic]

    def forget_topic(self, topic: str) -> None:
        """Forget a topic that has no members here."""
        for numbers in self._topics.pop(topic, {}).values():
            self._count -= len(numbers)

    def forget_origin(self, origin: str) -> None:
        """Forget an origin that is gone."""
        for topic in [topic for topic, origins in self._topics.items() if origin in origins]:
            self.passed(origin, topic, self._topics[topic][origin][-1])
