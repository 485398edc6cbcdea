"""Finds what recovering clients have lost, and the losses that they were told of without a cause. Pure.

A recovering client must receive every message that was confirmed, once and in order, whatever happens to it
and to the nodes, until it is told `recovered: false`. Then the messages after the last one that it received
may be lost, and a new period begins. Offsets show the same of messages that were never confirmed: within an
epoch, each follows the one before.

What a history may be lost of is in CAUSES; the death of one worker is not. All clients must agree on which
message has a position, because it proves that there was one recorder.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.history import SOURCES, Continuity, Fault, History, Position, Received, Sent

COPY_SECONDS = 2.0
"""How long after a worker has been replaced the other one may be the only one that has a topic's log."""
NOTICE_SECONDS = 10.0
"""A client may notice a loss this long after its cause has ended: when it is cut, or its channel ends."""


@dataclass
class Recovery:
    """What one client received of one topic.

    Attributes:
        delivered: the number of messages.
        lost: (source, number) of messages that had to arrive and did not.
        doubled: (source, number) of messages that arrived twice.
        misordered: (source, number) of messages that arrived after a later one, or have an offset that does
            not follow the one before, or one that another client has for another message.
        told: when it was told that it has missed something.
        uncaused: those of these times for which there is no cause.
    """

    client: str
    topic: str
    delivered: int = 0
    lost: list[tuple[str, int]] = field(default_factory=list)
    doubled: list[tuple[str, int]] = field(default_factory=list)
    misordered: list[tuple[str, int]] = field(default_factory=list)
    told: list[float] = field(default_factory=list)
    uncaused: list[float] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether anything is not as it must be."""
        return bool(self.lost or self.doubled or self.misordered or self.uncaused)


def judge_recoveries(history: History) -> list[Recovery]:
    """Return what each recovering client received of each topic."""
    causes = list(_causes(history.faults))
    recoveries = []
    at_position: dict[tuple[str, Position], tuple[str, int]] = {}
    for (client, topic), continuities in history.continuities.items():
        recovery = Recovery(client, topic)
        for each in continuities:
            last = each is continuities[-1]
            for source in SOURCES:
                _judge_numbers(recovery, source, history.kept[source, topic], each, last)
            _judge_positions(recovery, each, at_position)
            if each.ended is not None:
                recovery.told.append(each.ended)
                since = each.received[-1].at if each.received else each.since
                if not any(begin < each.ended and since < end for begin, end in causes):
                    recovery.uncaused.append(each.ended)
        recoveries.append(recovery)
    return recoveries


def _causes(faults: list[Fault]) -> Iterator[tuple[float, float]]:
    """Yield the periods in which clients may lose something, and be told so."""
    workers = [each for each in faults if each.kind == "workers"]
    for each in faults:
        if each.what == "wipe":
            yield each.at, each.ended + NOTICE_SECONDS
        elif (
            each in workers and each.what == "freeze"
        ):  # others may have taken over, and it may have published
            yield each.at, each.ended + NOTICE_SECONDS
    for one, two in itertools.pairwise(workers):
        if one.what == "kill" and two.what in ("kill", "wipe") and two.at - one.ended < COPY_SECONDS:
            yield two.at, two.ended + NOTICE_SECONDS


def _judge_numbers(
    recovery: Recovery, source: str, sent: list[Sent], continuity: Continuity, last: bool
) -> None:
    numbers = [each.number for each in continuity.received if each.source == source]
    recovery.delivered += len(numbers)
    seen: set[int] = set()
    for number in numbers:
        if number in seen:
            recovery.doubled.append((source, number))
        seen.add(number)
    confirmed = [number for number in numbers if sent[number - 1].confirmed is not None]
    for one, two in itertools.pairwise(confirmed):
        if one > two:
            recovery.misordered.append((source, two))
    newest = len(sent) if last else max(numbers, default=0)
    for number, message in enumerate(sent[:newest], 1):
        owed = message.confirmed is not None and message.published > continuity.since
        if owed and number not in seen:
            recovery.lost.append((source, number))


def _judge_positions(
    recovery: Recovery, continuity: Continuity, at_position: dict[tuple[str, Position], tuple[str, int]]
) -> None:
    before: Received | None = None
    for each in continuity.received:
        message, position = (each.source, each.number), each.position
        agreed = at_position.setdefault((recovery.topic, position), message) == message
        same = before is not None and before.position.epoch == position.epoch
        follows = before is not None and position.offset == before.position.offset + 1
        if not agreed or (same and not follows):
            recovery.misordered.append(message)
        before = each
