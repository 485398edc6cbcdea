"""Measures what a broadcast costs, with and without a history: broadcasts of channels, and of another node.

Each topic has one member, so that nearly all of the cost is that of broadcasts, not of deliveries.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import zmq

from bench.processes import Meter, cpu_seconds, per_message
from bench.rawsocket import RawSocket, take_all
from bench.row import Report, Run
from mesh.addresses import publish_address
from mesh.app import topics
from mesh.bus.frames import BROADCAST, VERSION, Header, encode_header
from mesh.protocol.messages import JSON

TOPICS = 20
BURST = 10
"""The broadcasts that a channel makes for one push, so that the push costs little in comparison."""
WARM_SECONDS = 1.0
DRAIN_SECONDS = 10.0
PAYLOAD_BYTES = 100

Publish = Callable[[int], None]
"""Makes a burst of broadcasts to the topic with this number."""


def by_channels(prefix: str, per_second: float) -> Callable[[Run], Report]:
    """Return a row: channels of topics with this prefix broadcast at this rate."""

    def work(run: Run) -> Report:
        with _members(run, prefix) as members:

            def publish(number: int) -> None:
                text = "x" * (PAYLOAD_BYTES - 8)
                members[number].push(f"{prefix}{number}", "burst", f'{{"times":{BURST},"d":"{text}"}}')

            return _measure(run, members, publish, per_second)

    return work


def by_another_node(prefix: str, per_second: float) -> Callable[[Run], Report]:
    """Return a row: a program on the bus, which knows of no history, broadcasts at this rate."""

    def work(run: Run) -> Report:
        with ExitStack() as stack:
            members = stack.enter_context(_members(run, prefix))
            socket = stack.enter_context(zmq.Context()).socket(zmq.XPUB)
            stack.enter_context(socket)
            socket.connect(publish_address(run.server.proxies[0]))
            socket.recv()  # the proxy's subscription shows that it is connected
            data, sequence = b'{"d":"' + b"x" * (PAYLOAD_BYTES - 8) + b'"}', 0

            def publish(number: int) -> None:
                nonlocal sequence
                frame = topics.exact(f"{prefix}{number}")
                for _ in range(BURST):
                    sequence += 1
                    header = encode_header(Header(VERSION, BROADCAST, "load", sequence, "new_msg", JSON))
                    socket.send_multipart((frame, header, data))

            return _measure(run, members, publish, per_second)

    return work


@contextmanager
def _members(run: Run, prefix: str) -> Iterator[list[RawSocket]]:
    """Return connections, each joined to one topic."""
    hosts = run.server.hosts
    sockets = [RawSocket(hosts[each % len(hosts)]) for each in range(run.capped(TOPICS))]
    try:
        for number, each in enumerate(sockets):
            each.join([f"{prefix}{number}"])
        yield sockets
    finally:
        for each in sockets:
            each.close()


def _measure(run: Run, members: list[RawSocket], publish: Publish, per_second: float) -> Report:
    """Publish at this rate to one topic after another, and count the deliveries."""
    bursts = per_second / BURST
    _publish(members, publish, bursts, min(WARM_SECONDS, run.seconds))
    parts = {part: cpu_seconds(pids) for part, pids in run.server.parts.items()}
    meter = Meter(run.server.pids)
    sent, received = _publish(members, publish, bursts, run.seconds)
    report = per_message(meter.report(), received)
    each = {
        f"us_per_broadcast_{part}": 1e6 * (cpu_seconds(pids) - parts[part]) / sent
        for part, pids in run.server.parts.items()
    }
    return {**report, **each, "missing": sent - received, "ok": sent == received}


def _publish(members: list[RawSocket], publish: Publish, bursts: float, seconds: float) -> tuple[int, int]:
    """Return (broadcasts made, broadcasts received)."""
    started, received, number = time.monotonic(), 0, max(1, int(seconds * bursts))
    for each in range(number):
        while (wait := started + each / bursts - time.monotonic()) > 0:
            received += take_all(members, each * BURST - received, wait)
            time.sleep(max(0.0, min(wait, started + each / bursts - time.monotonic())))
        publish(each % len(members))
    sent = number * BURST
    return sent, received + take_all(members, sent - received, DRAIN_SECONDS)
