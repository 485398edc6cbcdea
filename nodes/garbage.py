"""Garbage collection that does not hold up the event loop.

CPython looks at every object there is each time their number has grown by a quarter: with 10,000
connections that stops a node for some 100 ms, again and again (docs/performance.md). What our connections
and channels are made of forms no circles and is free without a collection. So young objects are collected
as always; what survives is set aside and not looked at again, but for one full collection every so many
seconds, which is for the circles of the application.
"""

import asyncio
import gc
import time
from collections.abc import Mapping
from typing import Any

from mesh.settings import GarbageSettings
from mesh.telemetry import get_logger

log = get_logger("nodes.garbage")

YOUNG_OBJECTS = 10_000
"""New containers before the young ones are collected: 1 to 2 ms each time."""
NEVER = 1_000_000


class GarbageCollection:
    """How this process collects garbage, while its node runs."""

    def __init__(self, settings: GarbageSettings) -> None:
        self._seconds = settings.full_seconds
        self._threshold = gc.get_threshold()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The node is up: what there is now stays."""
        if self._seconds is None:
            return
        gc.set_threshold(YOUNG_OBJECTS, NEVER, NEVER)
        gc.callbacks.append(_set_aside)
        self._full(self._seconds)

    def close(self) -> None:
        """Collect as Python does."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            gc.callbacks.remove(_set_aside)
            gc.set_threshold(*self._threshold)
            gc.unfreeze()

    def _full(self, seconds: float) -> None:
        began = time.perf_counter()
        gc.unfreeze()
        found = gc.collect()
        gc.freeze()
        took = round(1000 * (time.perf_counter() - began), 1)
        log.debug("full garbage collection", unreachable=found, milliseconds=took)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._full, seconds)


def _set_aside(phase: str, info: Mapping[str, Any]) -> None:
    if phase == "stop" and info["generation"] == 0:
        gc.freeze()
