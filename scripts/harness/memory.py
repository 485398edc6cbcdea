"""Decides whether memory stays flat over a run: samples, a fitted line, and the bounds."""

from typing import NamedTuple

WARM_UP_SHARE = 0.2
"""The part of a run in which caches, malloc's pools and bounded logs fill up."""
MAX_GROWTH = 0.10
MAX_GROWTH_KILOBYTES = 4_000
MAX_BYTES_PER_CYCLE = 64
MIN_CYCLES = 100_000
"""The cycles from which on memory is judged; before that, caches and pools fill up."""


class Sample(NamedTuple):
    """One sample of all nodes.

    Attributes:
        seconds: the time since the start.
        cycles: the number of finished clients.
        kilobytes: the resident memory by node.
    """

    seconds: float
    cycles: int
    kilobytes: dict[str, int]


class Verdict(NamedTuple):
    """The judgement of one node's memory.

    Attributes:
        warm: kilobytes after the warm-up.
        end: kilobytes at the end.
        bytes_per_cycle: the slope of the line through the samples since the warm-up.
        flat: whether the memory is within bounds; None if the run was too short to tell.
    """

    warm: int
    end: int
    bytes_per_cycle: float
    flat: bool | None


def verdict(samples: list[Sample], node: str) -> Verdict:
    """Judge a node's memory: a tenth plus 4 MB may be fragmentation, besides 64 bytes per cycle."""
    cycles = samples[-1].cycles
    since = [each for each in samples if each.cycles >= WARM_UP_SHARE * cycles]
    warm, end = since[0].kilobytes[node], since[-1].kilobytes[node]
    slope = 1024 * _slope([(each.cycles, each.kilobytes[node]) for each in since])
    if cycles < MIN_CYCLES:
        return Verdict(warm, end, slope, None)
    grown = end - warm > MAX_GROWTH * warm + MAX_GROWTH_KILOBYTES
    return Verdict(warm, end, slope, not grown and slope <= MAX_BYTES_PER_CYCLE)


def _slope(points: list[tuple[int, int]]) -> float:
    """Return the slope of the least-squares line."""
    count = len(points)
    mean_x, mean_y = sum(x for x, _ in points) / count, sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
