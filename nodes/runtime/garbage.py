"""Garbage collection that does not block the event loop.

CPython examines all objects each time their number has grown by a quarter: with 10,000 connections, that
repeatedly stops a node for about 100 ms (docs/performance.md). The objects of our connections and channels
form no reference cycles and are freed without a collection. So young objects are collected as usual, and
survivors are frozen: they are examined only in a full collection every `gc.full_seconds`, which is for the
application's reference cycles.
"""

import asyncio
import gc
import time
from collections.abc import Mapping
from typing import Any

from mesh.settings import GarbageSettings
from mesh.telemetry import get_logger

log = get_logger(__name__)

YOUNG_OBJECTS = 10_000
"""New container objects before a collection of the young generation, which takes 1 to 2 ms."""
NEVER = 1_000_000


class GarbageCollection:
    """Controls this process's garbage collection while its node runs."""

    def __init__(self, settings: GarbageSettings) -> None:
        self._seconds = settings.full_seconds
        self._threshold = gc.get_threshold()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin, once the node is up: run a full collection and freeze what survives."""
        if self._seconds is None:
            return
        gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)
        gc.callbacks.append(_freeze_survivors)
        self._collect_all(self._seconds)

    def close(self) -> None:
        """Restore Python's own garbage collection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.callbacks.remove(_freeze_survivors)
            gc.set_threshold(*self._threshold)
            gc.unfreeze()

    def _collect_all(self, seconds: float) -> None:
        started = time.perf_counter()
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        milliseconds = round(1000 * (time.perf_counter() - started), 1)
        log.debug("full garbage collection", unreachable=found, milliseconds=milliseconds)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._collect_all, seconds)


def _freeze_survivors(phase: str, info: Mapping[str, Any]) -> None:
    if phase == "stop" and info["generation"] == 0:
        gc.freeze()
