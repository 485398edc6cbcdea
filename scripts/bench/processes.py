"""Reads the CPU time and memory of processes from /proc."""

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the user and system time of all processes together."""
    return sum(_ticks(pid) for pid in pids) / TICKS


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def precise_cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of all threads of all processes, to the microsecond; threads must not end."""
    threads = (each for pid in pids for each in Path(f"/proc/{pid}/task").iterdir())
    return sum(int((each / "schedstat").read_text().split()[0]) for each in threads) / 1e9


def thread_seconds(pid: int) -> float:
    """Return the CPU time of a process's main thread, which runs its event loop, to the microsecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def rss_bytes(pids: Sequence[int]) -> int:
    """Return the resident memory of all processes together."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * PAGE


def busy_seconds() -> float:
    """Return the CPU time of the whole machine since it started."""
    user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / TICKS


def own_cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


class Meter:
    """Measures CPU time since it was made."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._start = self._now()

    def _now(self) -> tuple[float, float, float, float]:
        return time.monotonic(), cpu_seconds(self._pids), own_cpu_seconds(), busy_seconds()

    def report(self) -> dict[str, Any]:
        """Return the CPU time used since then, under wsload's names."""
        window, server, client, busy = (
            end - start for end, start in zip(self._now(), self._start, strict=True)
        )
        return {
            "window_s": window,
            "server_cpu_s": server,
            "client_cpu_s": client,
            "other_cpu_s": busy - server - client,
        }


def per_message(report: dict[str, Any], messages: int) -> dict[str, Any]:
    """Return the report with the server's cost per message added."""
    cpu = report["server_cpu_s"]
    if not messages or not cpu:
        return {**report, "measured": messages}
    costs = {"msgs_per_server_cpu_s": messages / cpu, "server_us_per_msg": 1e6 * cpu / messages}
    return {**report, "measured": messages, **costs}
