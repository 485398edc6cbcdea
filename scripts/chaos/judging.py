"""What was lost, doubled or out of order. Pure: reads a history, knows no clock.

A reader is owed what was published after it saw its join answered, and confirmed before it saw its channel
or connection end; if that was because its gateway was frozen, before the gateway froze. What another reader
got only after that end was still on its way. Nobody is owed what was published while it was not joined.

What was on its way at such an end took as long as what its reader got about then. On a machine without CPU
time that is seconds: the grace before an end grows with it.

A push that is not acknowledged may be carried out or not, at any time: the callback that runs when its
worker freezes goes on when it wakes. So it cannot be misordered.
"""

import bisect
import itertools
from dataclasses import dataclass, field

from chaos.history import SOURCES, Fault, History, Sent, Stay

GRACE_SECONDS = 0.5
"""What was confirmed so shortly before a channel's end may have been on its way on a quick machine, too."""
NEAR_SECONDS = 5.0
"""Messages that arrive within this time of an end show how long messages took then."""
THAW_SECONDS = 1.0
"""After a frozen gateway goes on, its clients see in this time that it had been gone."""
FATES = ("delivered", "lost", "doubled", "misordered")


@dataclass
class Verdict:
    """What one reader saw of one source on one topic.

    Attributes:
        published: when what was delivered, lost, doubled and misordered had been published.
        misordered_at: when what was out of order arrived.
        delays: (when published, how much later delivered).
    """

    reader: str
    source: str
    topic: str
    published: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in FATES})
    misordered_at: list[float] = field(default_factory=list)
    delays: list[tuple[float, float]] = field(default_factory=list)

    def count(self, fate: str) -> int:
        """How many messages had it."""
        return len(self.published[fate])


def judge(history: History) -> list[Verdict]:
    """What became of each source's messages at each reader and topic."""
    freezes = [each for each in history.faults if (each.what, each.kind) == ("freeze", "gateways")]
    verdicts = []
    delays = _delays(history)
    for (reader, topic), stays in history.stays.items():
        gateway = history.gateways[reader]
        its_freezes = [each for each in freezes if each.index == gateway]
        for source in SOURCES:
            verdict = Verdict(reader, source, topic)
            sent = history.sent[source, topic]
            began = [message.began for message in sent]
            arrived = _first_arrivals(history, source, topic)
            for stay in stays:
                got = [(number, at) for name, number, at in stay.got if name == source]
                _judge_got(verdict, sent, got)
                numbers = {number for number, _ in got}
                first = bisect.bisect_right(began, stay.since)
                end = _end(stay, its_freezes)
                last = bisect.bisect_left(began, end, first)
                missing = [
                    (number, message)
                    for number, message in enumerate(sent[first:last], first + 1)
                    if number not in numbers
                ]
                _judge_missing(verdict, missing, arrived, end - _grace(delays[reader], end))
            verdicts.append(verdict)
    return verdicts


def _end(stay: Stay, freezes: list[Fault]) -> float:
    """Until when it lasted for its reader's gateway."""
    for freeze in freezes:
        if freeze.at < stay.until < freeze.over + THAW_SECONDS:
            return freeze.at
    return stay.until


def _delays(history: History) -> dict[str, list[tuple[float, float]]]:
    """By reader: (when, how long it had been on its way) of all that it got, in order."""
    delays: dict[str, list[tuple[float, float]]] = {reader: [] for reader, _ in history.stays}
    for (reader, topic), stays in history.stays.items():
        for source, number, at in (got for stay in stays for got in stay.got):
            delays[reader].append((at, at - history.sent[source, topic][number - 1].began))
    for each in delays.values():
        each.sort()
    return delays


def _grace(delays: list[tuple[float, float]], end: float) -> float:
    """What was confirmed so shortly before an end may have been on its way."""
    first = bisect.bisect_left(delays, (end - NEAR_SECONDS,))
    last = bisect.bisect_right(delays, (end + NEAR_SECONDS,))
    return GRACE_SECONDS + max((delay for _, delay in delays[first:last]), default=0.0)


def _judge_got(verdict: Verdict, sent: list[Sent], got: list[tuple[int, float]]) -> None:
    """What arrived in one stay: (number, when)."""
    for (one, _), (two, at) in itertools.pairwise(got):
        if one > two and sent[two - 1].confirmed is not None:
            verdict.misordered_at.append(at)
            verdict.published["misordered"].append(sent[two - 1].began)
    seen: set[int] = set()
    for number, at in got:
        began = sent[number - 1].began
        verdict.published["doubled" if number in seen else "delivered"].append(began)
        verdict.delays.append((began, at - began))
        seen.add(number)


def _judge_missing(
    verdict: Verdict, missing: list[tuple[int, Sent]], arrived: dict[int, float], owed_until: float
) -> None:
    """What was published in one stay and did not come in it."""
    for number, message in missing:
        confirmed = message.confirmed is not None and message.confirmed < owed_until
        if confirmed and arrived.get(number, 0.0) < owed_until:
            verdict.published["lost"].append(message.began)


def _first_arrivals(history: History, source: str, topic: str) -> dict[int, float]:
    """When each message came to the first reader that got it."""
    first: dict[int, float] = {}
    for (_, its_topic), stays in history.stays.items():
        for name, number, at in (got for stay in stays for got in stay.got) if its_topic == topic else ():
            if name == source and at < first.get(number, float("inf")):
                first[number] = at
    return first
