"""Topics whose joins have ended workers, and how long their joins are refused. Pure.

A join that was under way on two workers that died is refused, and so are further joins of its topic for a
while. If a worker dies of the topic again, one is enough, and the wait is doubled. Time is an argument, in
seconds.
"""

Topic = tuple[str, str]
"""(mount, topic)."""

DEATHS = 2
"""Workers that may die with a join under way before it is refused."""
FIRST_SECONDS = 1.0
CALM_SECONDS = 60.0
"""After the wait. Without another death until then, a topic that can be joined is forgotten."""
FORGET_SECONDS = 3_600.0
"""After the wait, whether anybody has joined it or not."""
MAX_TOPICS = 10_000
"""Remembered; then the one that was refused longest ago is forgotten."""
MAX_TIMES = 32


class _Entry:
    __slots__ = ("times", "until")

    def __init__(self) -> None:
        self.times = 0
        self.until = 0.0


class RefusedTopics:
    """What is remembered of such topics.

    Args:
        max_seconds: that a topic's joins are refused at a time, however often workers have died of it.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._topics: dict[Topic, _Entry] = {}

    def __bool__(self) -> bool:
        """Whether anything is remembered."""
        return bool(self._topics)

    def refuses(self, topic: Topic, now: float) -> bool:
        """Whether joins of this topic are refused now."""
        entry = self._topics.get(topic)
        return entry is not None and now < entry.until

    def died(self, topic: Topic, deaths: int, now: float) -> bool:
        """Whether a join is refused that was under way on a worker that has just died.

        Args:
            topic: that it joins.
            deaths: how many workers have died while it was under way on them, this one included.
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
        """How often a topic's joins have begun to be refused, now included."""
        entry = self._topics.get(topic)
        return entry.times if entry is not None else 0

    def seconds(self, topic: Topic) -> float:
        """How long they were refused the last time."""
        return self._seconds(self.times(topic))

    def told(self, topic: Topic, times: int, now: float) -> bool:
        """Another gateway refuses the topic, so many times by now; returns whether that is news."""
        entry = self._entry(topic, now)
        if times < 1 or (entry is not None and (entry.times >= times or now < entry.until)):
            return False
        self._refuse(topic, min(times, MAX_TIMES), now)
        return True

    def answered(self, topic: Topic, now: float) -> None:
        """A worker has answered a join of the topic, and lives."""
        entry = self._topics.get(topic)
        if entry is not None and now - entry.until >= CALM_SECONDS:
            del self._topics[topic]

    def _refuse(self, topic: Topic, times: int, now: float) -> None:
        entry = self._topics.pop(topic, None) or _Entry()
        while len(self._topics) >= MAX_TOPICS:
            del self._topics[next(iter(self._topics))]
        self._topics[topic] = entry
        entry.times = min(times, MAX_TIMES)
        entry.until = now + self._seconds(entry.times)

    def _seconds(self, times: int) -> float:
        return min(FIRST_SECONDS * 2.0 ** (times - 1), self._max_seconds)

    def _entry(self, topic: Topic, now: float) -> _Entry | None:
        entry = self._topics.get(topic)
        if entry is not None and now - entry.until >= FORGET_SECONDS:
            del self._topics[topic]
            return None
        return entry
