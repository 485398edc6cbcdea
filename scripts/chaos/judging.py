"""Finds the messages of a history that were lost, duplicated or out of order. Pure: it uses no clock.

A reader must receive a message that was published after it received the reply to its join, and confirmed
before it saw the end of its channel or connection; if its gateway had been frozen, before the gateway
froze. A message that other readers received only after that end was still in transit. A reader need not
receive what was published while it was not joined.

A message in transit at such an end is assumed to have taken as long as those that its reader received
around that time. On a machine that lacks CPU time this may be seconds, so the grace before an end grows
with it.

A push that is not acknowledged may be carried out at any time or never, because a callback that was running
when its worker froze continues when the worker wakes up. So it cannot be out of order.
"""

import bisect
import itertools
from dataclasses import dataclass, field

from chaos.history import SOURCES, Fault, History, Membership, Sent

GRACE_SECONDS = 0.5
"""Even on a fast machine, messages confirmed this shortly before a channel's end may be in transit."""
NEAR_SECONDS = 5.0
"""Messages that arrive within this time of an end show how long messages took then."""
THAW_SECONDS = 1.0
"""The time after a frozen gateway resumes in which its clients notice that it was frozen."""
OUTCOMES = ("delivered", "lost", "doubled", "misordered")


@dataclass
class Verdict:
    """The outcomes of one source's messages on one topic at one reader.

    Attributes:
        published: for each outcome, when its messages were published.
        misordered_at: when the messages that were out of order arrived.
        delays: (when published, how much later delivered).
    """

    reader: str
    source: str
    topic: str
    published: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in OUTCOMES})
    misordered_at: list[float] = field(default_factory=list)
    delays: list[tuple[float, float]] = field(default_factory=list)

    def count(self, outcome: str) -> int:
        """Return the number of messages with this outcome."""
        return len(self.published[outcome])


def judge(history: History) -> list[Verdict]:
    """Return the outcomes of each source's messages at each reader and topic."""
    freezes = [each for each in history.faults if (each.what, each.kind) == ("freeze", "gateways")]
    verdicts = []
    delays = _delays(history)
    for (reader, topic), memberships in history.memberships.items():
        gateway = history.gateways[reader]
        its_freezes = [each for each in freezes if each.index == gateway]
        for source in SOURCES:
            verdict = Verdict(reader, source, topic)
            sent = history.sent[source, topic]
            published = [message.published for message in sent]
            arrived = _first_arrivals(history, source, topic)
            for membership in memberships:
                received = [(number, at) for name, number, at in membership.received if name == source]
                _record_received(verdict, sent, received)
                numbers = {number for number, _ in received}
                first = bisect.bisect_right(published, membership.since)
                end = _end(membership, its_freezes)
                last = bisect.bisect_left(published, end, first)
                missing = [
                    (number, message)
                    for number, message in enumerate(sent[first:last], first + 1)
                    if number not in numbers
                ]
                _record_lost(verdict, missing, arrived, end - _grace(delays[reader], end))
            verdicts.append(verdict)
    return verdicts


def _end(membership: Membership, freezes: list[Fault]) -> float:
    """Return the time until which a membership lasted for its reader's gateway."""
    for freeze in freezes:
        if freeze.at < membership.until < freeze.ended + THAW_SECONDS:
            return freeze.at
    return membership.until


def _delays(history: History) -> dict[str, list[tuple[float, float]]]:
    """Return, for each reader, (when, time in transit) of all messages that it received, in order."""
    delays: dict[str, list[tuple[float, float]]] = {reader: [] for reader, _ in history.memberships}
    for (reader, topic), memberships in history.memberships.items():
        for source, number, at in (
            received for membership in memberships for received in membership.received
        ):
            delays[reader].append((at, at - history.sent[source, topic][number - 1].published))
    for each in delays.values():
        each.sort()
    return delays


def _grace(delays: list[tuple[float, float]], end: float) -> float:
    """Return how long before an end a confirmed message may still have been in transit."""
    first = bisect.bisect_left(delays, (end - NEAR_SECONDS,))
    last = bisect.bisect_right(delays, (end + NEAR_SECONDS,))
    return GRACE_SECONDS + max((delay for _, delay in delays[first:last]), default=0.0)


def _record_received(verdict: Verdict, sent: list[Sent], received: list[tuple[int, float]]) -> None:
    """Record the outcomes of the messages, given as (number, when), that arrived in one membership."""
    for (one, _), (two, at) in itertools.pairwise(received):
        if one > two and sent[two - 1].confirmed is not None:
            verdict.misordered_at.append(at)
            verdict.published["misordered"].append(sent[two - 1].published)
    seen: set[int] = set()
    for number, at in received:
        published = sent[number - 1].published
        verdict.published["doubled" if number in seen else "delivered"].append(published)
        verdict.delays.append((published, at - published))
        seen.add(number)


def _record_lost(
    verdict: Verdict, missing: list[tuple[int, Sent]], arrived: dict[int, float], owed_until: float
) -> None:
    """Record as lost those missing messages that the reader had to receive before `owed_until`."""
    for number, message in missing:
        confirmed = message.confirmed is not None and message.confirmed < owed_until
        if confirmed and arrived.get(number, 0.0) < owed_until:
            verdict.published["lost"].append(message.published)


def _first_arrivals(history: History, source: str, topic: str) -> dict[int, float]:
    """Return when each message arrived at the first reader that received it."""
    first: dict[int, float] = {}
    for (_, its_topic), memberships in history.memberships.items():
        for name, number, at in (
            (received for membership in memberships for received in membership.received)
            if its_topic == topic
            else ()
        ):
            if name == source and at < first.get(number, float("inf")):
                first[number] = at
    return first
