"""Topics whose joins have crashed workers, and how long their joins are refused. Pure.

A join that two workers had when they died is refused, and so are all joins of its topic for a time. If
another worker dies with a join of this topic after that, the topic is refused at once, for twice as long.
Time is an argument, in seconds.
"""

Topic = tuple[str, str]
"""(mount, topic)."""

DEATHS = 2
"""The number of workers that died with a join, from which on the join is refused."""
FIRST_REFUSAL_SECONDS = 1.0
PROBATION_SECONDS = 60.0
"""From the end of a refusal. After this time, a join that a worker answers makes the topic forgotten."""
FORGET_SECONDS = 3_600.0
"""From the end of a refusal. After this time the topic is forgotten in any case."""
MAX_TOPICS = 10_000
"""The most topics remembered; beyond that, the one refused longest ago is forgotten."""
MAX_TIMES = 32


class _Entry:
    __slots__ = ("times", "until")

    def __init__(self) -> None:
        self.times = 0
        self.until = 0.0


class RefusedTopics:
    """The topics whose joins have crashed workers.

    Args:
        max_seconds: the longest time for which a topic is refused, however often workers have died.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._topics: dict[Topic, _Entry] = {}

    def __bool__(self) -> bool:
        """Whether any topic is remembered."""
        return bool(self._topics)

    def refuses(self, topic: Topic, now: float) -> bool:
        """Return whether joins of this topic are refused now."""
        entry = self._topics.get(topic)
        return entry is not None and now < entry.until

    def died(self, topic: Topic, deaths: int, now: float) -> bool:
        """Note the death of a worker that had a join; return whether the join is refused.

        Args:
            topic: the topic of the join.
            deaths: the number of workers that have died with this join, including this one.
            now: the time.
        """
        entry = self._entry(topic, now)
        if entry is not None and now < entry.until:
            return True  # another join of the topic was on the same worker
        if entry is None and deaths < DEATHS:
            return False
        self._refuse(topic, 1 if entry is None else entry.times + 1, now)
        return True

    def times(self, topic: Topic) -> int:
        """Return how many times a topic has been refused, including the current time."""
        entry = self._topics.get(topic)
        return entry.times if entry is not None else 0

    def seconds(self, topic: Topic) -> float:
        """Return how long the last refusal of a topic lasts."""
        return self._refusal_seconds(self.times(topic))

    def refused_elsewhere(self, topic: Topic, times: int, now: float) -> bool:
        """Note that another gateway has refused the topic `times` times; return whether that is new."""
        entry = self._entry(topic, now)
        if times < 1 or (entry is not None and (entry.times >= times or now < entry.until)):
            return False
        self._refuse(topic, min(times, MAX_TIMES), now)
        return True

    def answered(self, topic: Topic, now: float) -> None:
        """Note that a worker has answered a join of the topic, and has survived it."""
        entry = self._topics.get(topic)
        if entry is not None and now - entry.until >= PROBATION_SECONDS:
            del self._topics[topic]

    def _refuse(self, topic: Topic, times: int, now: float) -> None:
        entry = self._topics.pop(topic, None) or _Entry()
        while len(self._topics) >= MAX_TOPICS:
            del self._topics[next(iter(self._topics))]
        self._topics[topic] = entry
        entry.times = min(times, MAX_TIMES)
        entry.until = now + self._refusal_seconds(entry.times)

    def _refusal_seconds(self, times: int) -> float:
        return min(FIRST_REFUSAL_SECONDS * 2.0 ** (times - 1), self._max_seconds)

    def _entry(self, topic: Topic, now: float) -> _Entry | None:
        entry = self._topics.get(topic)
        if entry is not None and now - entry.until >= FORGET_SECONDS:
            del self._topics[topic]
            return None
        return entry
