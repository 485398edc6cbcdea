"""Measures how long callbacks block the event loop, and with it everything that waits for its turn.

A stall is a long turn of the loop, from one `select` to the next. Every turn is timed, without waking an
idle node. The thread's CPU time in a turn distinguishes callbacks that compute from callbacks that wait,
and from a machine without a free core.
"""

import asyncio
import time

from mesh.nodes.runtime.event_loop import EventLoop
from mesh.telemetry import get_logger, milliseconds, stats

log = get_logger(__name__)

STALL_SECONDS = 0.02
"""Above this a turn counts as a stall: mesh_loop_stalls_total."""
LOG_SECONDS = 10.0
"""The shortest time between two warnings."""


class StallMonitor:
    """Watches the running event loop of a process, if it is a node's own.

    Args:
        warning_seconds: a stall above this is logged as a warning, at most one every 10 seconds.
    """

    def __init__(self, warning_seconds: float) -> None:
        self._warning_seconds = warning_seconds
        loop = asyncio.get_running_loop()
        self._selector = loop.selector if isinstance(loop, EventLoop) else None
        self._worst = 0.0
        self._worst_cpu = 0.0
        self._cpu = time.thread_time()
        self._unlogged = 0
        self._next_warning = 0.0

    def start(self) -> None:
        """Start timing every turn."""
        if self._selector is not None:
            self._selector.woke_at = time.perf_counter()
            self._selector.on_turn = self._turn

    def close(self) -> None:
        """Stop timing."""
        if self._selector is not None:
            self._selector.on_turn = None

    def take_worst(self) -> float:
        """Return the longest turn since the last call, in seconds."""
        worst, self._worst = self._worst, 0.0
        return worst

    def take_worst_cpu(self) -> float:
        """Return the most CPU time that this thread used in one turn since the last call, in seconds."""
        worst, self._worst_cpu = self._worst_cpu, 0.0
        return worst

    def _turn(self, seconds: float) -> None:
        stats.loop_turn_seconds.observe(seconds)
        cpu = time.thread_time()
        cpu_used, self._cpu = min(seconds, cpu - self._cpu), cpu
        if cpu_used > self._worst_cpu:
            self._worst_cpu = cpu_used
        if seconds > self._worst:
            self._worst = seconds
        if seconds > STALL_SECONDS:
            stats.loop_stalls += 1
            if seconds > self._warning_seconds:
                self._warn(seconds, cpu_used)

    def _warn(self, seconds: float, cpu_used: float) -> None:
        now = time.monotonic()
        if now < self._next_warning:
            self._unlogged += 1
            return
        log.warning(
            "the event loop was held up",
            milliseconds=milliseconds(seconds),
            cpu_milliseconds=milliseconds(cpu_used),
            unlogged=self._unlogged,
        )
        self._unlogged = 0
        self._next_warning = now + LOG_SECONDS
