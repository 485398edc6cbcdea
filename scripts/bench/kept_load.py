"""Compares the costs of broadcasts with and without a history: of channels, and of another node.

Each topic has one member, so that nearly all of the cost is that of broadcasts, not of deliveries. Topics
with and without a history take turns every quarter of a second on the same server, so that other work on
the machine affects both alike.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import zmq

from bench.processes import precise_cpu_seconds
from bench.rawsocket import RawSocket, take_all
from bench.row import Report, Run
from mesh.addresses import publish_address
from mesh.app import topics
from mesh.bus.frames import BROADCAST, VERSION, Header, encode_header
from mesh.protocol.messages import JSON

TOPICS = 20
BURST = 10
"""The broadcasts that a channel makes for one push, so that the push costs little in comparison."""
WINDOW_SECONDS = 0.25
WARM_WINDOWS = 2
DRAIN_SECONDS = 10.0
PAYLOAD_BYTES = 100
PREFIXES = {"plain": "bench:", "kept": "kept:"}

Publish = Callable[[str], None]
"""Makes BURST broadcasts to a topic."""
Members = dict[str, RawSocket]
"""One connection for each topic."""


def by_channels(per_second: float) -> Callable[[Run], Report]:
    """Return a row: channels broadcast at this rate."""

    def work(run: Run) -> Report:
        text = "x" * (PAYLOAD_BYTES - 8)
        payload = f'{{"times":{BURST},"d":"{text}"}}'
        with _members(run) as members:
            return _compare(
                run, members, lambda topic: members[topic].push(topic, "burst", payload), per_second
            )

    return work


def by_another_node(per_second: float) -> Callable[[Run], Report]:
    """Return a row: a program on the bus, which knows of no history, broadcasts at this rate."""

    def work(run: Run) -> Report:
        with ExitStack() as stack:
            members = stack.enter_context(_members(run))
            socket = stack.enter_context(zmq.Context()).socket(zmq.XPUB)
            stack.enter_context(socket)
            socket.connect(publish_address(run.server.proxies[0]))
            socket.recv()  # the proxy's subscription shows that it is connected
            data, sequence = b'{"d":"' + b"x" * (PAYLOAD_BYTES - 8) + b'"}', 0

            def publish(topic: str) -> None:
                nonlocal sequence
                for _ in range(BURST):
                    sequence += 1
                    header = encode_header(Header(VERSION, BROADCAST, "load", sequence, "new_msg", JSON))
                    socket.send_multipart((topics.exact(topic), header, data))

            return _compare(run, members, publish, per_second)

    return work


@contextmanager
def _members(run: Run) -> Iterator[Members]:
    """Return connections, each joined to one topic."""
    hosts = run.server.hosts
    names = [f"{prefix}{number}" for prefix in PREFIXES.values() for number in range(run.capped(TOPICS))]
    members = {name: RawSocket(hosts[number % len(hosts)]) for number, name in enumerate(names)}
    try:
        for name, socket in members.items():
            socket.join([name])
        yield members
    finally:
        for socket in members.values():
            socket.close()


def _compare(run: Run, members: Members, publish: Publish, per_second: float) -> Report:
    """Publish at this rate, in turns, and count the deliveries; `run.seconds` are those of each kind."""
    used: dict[str, float] = {}
    missing = sent = 0
    started_at = time.monotonic()
    for turn in range(WARM_WINDOWS + max(1, round(run.seconds / WINDOW_SECONDS))):
        for kind, prefix in PREFIXES.items():
            window = {name: socket for name, socket in members.items() if name.startswith(prefix)}
            before = {part: precise_cpu_seconds(pids) for part, pids in run.server.parts.items()}
            number = max(1, int(min(WINDOW_SECONDS, run.seconds) * per_second / BURST))
            missing += number * BURST - _publish(window, publish, number, per_second / BURST)
            if turn < WARM_WINDOWS:
                continue
            sent += number * BURST if kind == "kept" else 0
            for part, pids in run.server.parts.items():
                key = f"{kind}_us_{part}"
                used[key] = used.get(key, 0.0) + precise_cpu_seconds(pids) - before[part]
    costs = {key: 1e6 * seconds / sent for key, seconds in used.items()}
    plain, kept = (sum(costs[f"{kind}_us_{part}"] for part in run.server.parts) for kind in PREFIXES)
    return {
        **costs,
        "plain_us": plain,
        "kept_us": kept,
        "kept_per_plain": kept / plain,
        "broadcasts": sent,
        "window_s": time.monotonic() - started_at,
        "missing": missing,
        "ok": not missing,
    }


def _publish(members: Members, publish: Publish, number: int, bursts: float) -> int:
    """Publish bursts to one topic after another; return how many broadcasts were received."""
    names, sockets = list(members), list(members.values())
    started, received = time.monotonic(), 0
    for each in range(number):
        while (wait := started + each / bursts - time.monotonic()) > 0:
            received += take_all(sockets, each * BURST - received, wait)
            time.sleep(max(0.0, min(wait, started + each / bursts - time.monotonic())))
        publish(names[each % len(names)])
    return received + take_all(sockets, number * BURST - received, DRAIN_SECONDS)
