"""Measures the cost of an input: every node's CPU time and peak memory, and the waits of the bystander."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.bystander import Bystander

PUSH_INTERVAL_SECONDS = 0.05
"""The time between two pushes of a bystander."""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """The cost of one input.

    Attributes:
        cpu_seconds: the CPU time that each node used.
        grown_kilobytes: how far each node's peak resident memory exceeded its memory before.
        dead: the nodes that ended.
        worst_ms: the longest time that a bystander's push and broadcast took.
        asked: the number of the bystander's pushes.
    """

    cpu_seconds: dict[str, float] = field(default_factory=dict)
    grown_kilobytes: dict[str, int] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    worst_ms: float = 0.0
    asked: int = 0


@contextlib.asynccontextmanager
async def measured(nodes: Mapping[str, int], bystander: Bystander) -> AsyncIterator[Cost]:
    """Measure the nodes, given by their pids, and let the bystander push, until the block ends."""
    cost = Cost()
    bystander.worst, bystander.pushes = 0.0, 0
    before = {name: (cpu_seconds(pid), _reset_peak(pid)) for name, pid in nodes.items()}
    done = asyncio.Event()
    pushing = asyncio.create_task(_push_repeatedly(bystander, done))
    try:
        yield cost
    finally:
        done.set()
        await pushing
    cost.worst_ms, cost.asked = round(bystander.worst * 1000, 1), bystander.pushes
    for name, pid in nodes.items():
        try:
            cost.cpu_seconds[name] = round(cpu_seconds(pid) - before[name][0], 2)
            cost.grown_kilobytes[name] = _kilobytes(pid, "VmHWM:") - before[name][1]
        except OSError:
            cost.dead.append(name)


async def _push_repeatedly(bystander: Bystander, done: asyncio.Event) -> None:
    """Push at least once, and repeatedly until the input is done."""
    while True:
        await bystander.push_and_wait()
        if done.is_set():
            return
        await asyncio.sleep(PUSH_INTERVAL_SECONDS)


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process. Raises OSError if it has ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    if fields[0] == "Z":
        raise OSError(f"process {pid} has ended")
    return (int(fields[11]) + int(fields[12])) / TICKS


def _reset_peak(pid: int) -> int:
    """Return the resident kilobytes of a process, and reset its peak."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _kilobytes(pid, "VmRSS:")


def _kilobytes(pid: int, name: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    if name not in status:
        raise OSError(f"process {pid} has ended")
    return int(status.partition(name)[2].partition("kB")[0])
