"""Measures the cost of a topic among very many: to join, to keep and to broadcast to it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.processes import Meter, per_message, rss_bytes
from bench.rawsocket import RawSocket, take_all
from bench.row import Report, Run

CONNECTIONS = 100
DRAIN_SECONDS = 10.0
SETTLE_SECONDS = 2.0
SETTINGS = {"MESH_GATEWAY__MAX_CHANNELS_PER_SOCKET": "100000"}


@contextmanager
def joined(run: Run, topics: int) -> Iterator[tuple[list[RawSocket], list[str]]]:
    """Return connections that together have joined this many topics, each one once."""
    names = [f"bench:{number}" for number in range(topics)]
    hosts = run.server.hosts
    sockets = [RawSocket(hosts[each % len(hosts)]) for each in range(min(CONNECTIONS, topics))]
    try:
        for number, each in enumerate(sockets):
            each.join(names[number :: len(sockets)])
        yield sockets, names
    finally:
        for each in sockets:
            each.close()


def memory(topics: int) -> Callable[[Run], Report]:
    """Return a row: the memory of a topic with one member by kind of process, and its cost of joining."""

    def work(run: Run) -> Report:
        number = run.capped(topics)
        with joined(run, min(CONNECTIONS, number)):
            before = {part: rss_bytes(pids) for part, pids in run.server.parts.items()}
        meter = Meter(run.server.pids)
        with joined(run, number):
            joins = meter.report()
            time.sleep(min(SETTLE_SECONDS, run.seconds))
            grown = {
                f"kb_per_topic_{part}": (rss_bytes(pids) - before[part]) / number / 1000
                for part, pids in run.server.parts.items()
            }
        per_topic = sum(grown.values())
        cost = 1000 * joins["server_cpu_s"] / number
        return {**joins, **grown, "kb_per_topic": per_topic, "topic_join_cpu_ms": cost, "ok": True}

    return work


def rotating(topics: int, per_second: float) -> Callable[[Run], Report]:
    """Return a row: broadcasts at a fixed rate to one topic after another, each with one member."""

    def work(run: Run) -> Report:
        with joined(run, topics) as (sockets, names):
            _publish(sockets, names, per_second, 0.5)
            meter = Meter(run.server.pids)
            sent, received = _publish(sockets, names, per_second, run.seconds)
            report = per_message(meter.report(), received)
        return {**report, "topics": topics, "missing": sent - received, "ok": sent == received}

    return work


def _publish(
    sockets: list[RawSocket], names: list[str], per_second: float, seconds: float
) -> tuple[int, int]:
    """Return (messages sent, messages received); topics are assigned to connections by their number."""
    started, received, number = time.monotonic(), 0, max(1, int(seconds * per_second))
    stride = 7919  # a prime, so that consecutive broadcasts use topics that are far apart in memory
    for each in range(number):
        wait = started + each / per_second - time.monotonic()
        if wait > 0:
            received += take_all(sockets, each - received, wait)
            time.sleep(max(0.0, started + each / per_second - time.monotonic()))
        topic = each * stride % len(names)
        sockets[topic % len(sockets)].publish(names[topic])
    return number, received + take_all(sockets, number - received, DRAIN_SECONDS)
