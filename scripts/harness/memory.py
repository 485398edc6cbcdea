"""Whether memory is flat: samples over a run, a straight line through them, and the bounds."""

from typing import NamedTuple

WARM = 0.2
"""Part of a run in which caches fill, pools of malloc grow and logs of bounded length become full."""
MAX_GROWTH = 0.10
MAX_GROWTH_KILOBYTES = 4_000
MAX_BYTES_PER_CYCLE = 64
LONG_RUN = 100_000
"""Cycles from which on memory is judged: before, it is caches and pools that fill."""


class Sample(NamedTuple):
    """One look at all nodes.

    Attributes:
        seconds: since the start.
        cycles: clients that have come and gone.
        kilobytes: resident memory, by node.
    """

    seconds: float
    cycles: int
    kilobytes: dict[str, int]


class Verdict(NamedTuple):
    """On one node.

    Attributes:
        warm: kilobytes after the warm-up.
        end: kilobytes at the end.
        bytes_per_cycle: slope of the line through the samples since the warm-up.
        flat: whether that is within bounds; None if the run was too short to say.
    """

    warm: int
    end: int
    bytes_per_cycle: float
    flat: bool | None


def verdict(samples: list[Sample], node: str) -> Verdict:
    """On a node's memory: a tenth and 4 MB may be fragmentation, beside 64 bytes a cycle."""
    cycles = samples[-1].cycles
    since = [each for each in samples if each.cycles >= WARM * cycles]
    warm, end = since[0].kilobytes[node], since[-1].kilobytes[node]
    slope = 1024 * _slope([(each.cycles, each.kilobytes[node]) for each in since])
    if cycles < LONG_RUN:
        return Verdict(warm, end, slope, None)
    grown = end - warm > MAX_GROWTH * warm + MAX_GROWTH_KILOBYTES
    return Verdict(warm, end, slope, not grown and slope <= MAX_BYTES_PER_CYCLE)


def _slope(points: list[tuple[int, int]]) -> float:
    """Of the straight line with the least squares."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
