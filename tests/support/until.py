"""Wait for a condition, never for a time."""

import asyncio
import time

PATIENCE = 240.0
"""Seconds that a test waits for other processes. A test that passes never waits for so long."""
LONG = 560.0
"""As PATIENCE, for a program that does much; less than pytest's own time-out (pyproject.toml)."""


async def until(predicate, seconds=PATIENCE):
    """Return what `predicate` returns once it is true; fail after `seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not (result := predicate()):
        if loop.time() > deadline:
            raise TimeoutError(f"not true within {seconds} s: {predicate}")
        await asyncio.sleep(0.005)
    return result


def until_sync(predicate, seconds=PATIENCE):
    """As `until`, outside of an event loop."""
    deadline = time.monotonic() + seconds
    while not (result := predicate()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {predicate}"
        time.sleep(0.01)
    return result
