"""Remembers which calls of other nodes this node has carried out, and the answers. Pure.

A caller repeats a call when the call or its answer may have been lost. The call must then not be carried
out a second time, and the answer must be the same. Both are kept for a limited time and in limited number.
"""

from collections import OrderedDict

KEPT_SECONDS = 30.0
"""An answer is kept for this long. Callers stop repeating a call well before that."""
MAX_CALLS = 50_000
"""The most calls that are remembered."""
MAX_BYTES = 16_000_000
"""The most bytes of answers that are kept."""

Key = tuple[str, int]
"""The id of the calling node, and the number that it gave the call."""


class Call:
    """One call, in progress or answered.

    Attributes:
        name: the name of the call.
        started_at: when it started, in seconds.
        answer: None while the call is in progress, and if the answer was too large to keep.
        repeated: whether a repetition of the call was carried out, not the original.
    """

    __slots__ = ("answer", "name", "repeated", "started_at")

    def __init__(self, name: str, started_at: float, repeated: bool) -> None:
        self.name = name
        self.started_at = started_at
        self.repeated = repeated
        self.answer: bytes | None = None


class Answers:
    """The calls of the last half minute. Time is an argument, in seconds of any one clock."""

    def __init__(
        self,
        kept_seconds: float = KEPT_SECONDS,
        max_calls: int = MAX_CALLS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._kept_seconds = kept_seconds
        self._max_calls = max_calls
        self._max_bytes = max_bytes
        self._calls: OrderedDict[Key, Call] = OrderedDict()
        self._answer_sizes: OrderedDict[Key, int] = OrderedDict()
        self._bytes = 0
        self._last_early_eviction = float("-inf")

    def __len__(self) -> int:
        return len(self._calls)

    def get(self, key: Key) -> Call | None:
        """Return the call, or None if it is not remembered."""
        return self._calls.get(key)

    def never_received(self, key: Key, now: float) -> bool:
        """Return whether the call has certainly not been carried out here."""
        return key not in self._calls and now - self._last_early_eviction > self._kept_seconds

    def record_call(self, key: Key, name: str, now: float, repeated: bool = False) -> None:
        """Record that a call is being carried out."""
        self._evict(key)
        self._calls[key] = Call(name, now, repeated)
        while self._calls:
            oldest, call = next(iter(self._calls.items()))
            if now - call.started_at <= self._kept_seconds:
                if len(self._calls) <= self._max_calls:
                    break
                self._last_early_eviction = now
            self._evict(oldest)

    def record_answer(self, key: Key, answer: bytes) -> None:
        """Record the answer to a call."""
        call = self._calls.get(key)
        if call is None or call.answer is not None:
            return
        call.answer = answer
        self._answer_sizes[key] = len(answer)
        self._bytes += len(answer)
        while self._bytes > self._max_bytes:
            oldest, size = self._answer_sizes.popitem(last=False)
            self._bytes -= size
            self._calls[oldest].answer = None

    def _evict(self, key: Key) -> None:
        if self._calls.pop(key, None) is not None:
            self._bytes -= self._answer_sizes.pop(key, 0)
