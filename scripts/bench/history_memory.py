"""Measures the memory of histories in a worker, and compares it with the estimates of mesh/history/log.py.

    python scripts/bench/history_memory.py

It records in a MemoryStore of this process, and reads its resident memory.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1])]

from bench.processes import rss_bytes  # noqa: E402  # as a program, it has to find the packages first
from mesh.app.history import History  # noqa: E402
from mesh.history.log import Log  # noqa: E402
from mesh.history.memory_store import MemoryStore  # noqa: E402

TOPICS = 20_000
ENTRIES = 200_000
PUBLISHERS = 200
PAYLOAD_BYTES = 100


def main() -> None:
    """Measure, and print what one of each needs."""
    history = History(messages=100_000, seconds=10**6, bytes=64_000_000)
    store = MemoryStore("worker", 10**12)

    def topics() -> None:
        for number in range(TOPICS):
            store.put(f"room:{number}", history, Log("worker"))

    def entries() -> None:
        for number in range(ENTRIES):
            topic = f"room:{number % TOPICS}"
            store.record(topic, event(number), 0, payload(number), "worker", number + 1)

    def publishers() -> None:
        for number in range(PUBLISHERS):
            for topic in range(100):
                store.record(f"room:{topic}", "new_msg", 0, b"", f"worker-{number}", 1)

    _print("a log without entries", topics, TOPICS, store)
    _print(f"an entry besides its {PAYLOAD_BYTES} bytes", entries, ENTRIES, store, PAYLOAD_BYTES)
    _print("a publisher, and an empty entry", publishers, PUBLISHERS * 100, store)


def event(number: int) -> str:
    """Return a new string, as a decoded header has one."""
    return "".join(("new", "_", "msg"))


def payload(number: int) -> bytes:
    """Return new bytes."""
    return number.to_bytes(8) + bytes(PAYLOAD_BYTES - 8)


def _print(name: str, make: Callable[[], None], number: int, store: MemoryStore, payload: int = 0) -> None:
    before, estimated = rss_bytes([os.getpid()]), store.bytes
    make()
    grown = (rss_bytes([os.getpid()]) - before) / number - payload
    print(f"{name:32} {grown:8.0f} bytes, estimated {(store.bytes - estimated) / number - payload:6.0f}")


if __name__ == "__main__":
    main()
