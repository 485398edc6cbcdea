"""Fan-out at a fixed rate to Python clients: msgpack, TLS, ZeroMQ, long-poll, unsupported by wsload.

Only the server's CPU time is counted. The clients share the machine with it, so there are few enough of
them to keep up; the report states their share of the CPU (client_cpu_s of window_s).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from bench import longpoll, tls
from bench.processes import Meter, per_message
from bench.row import Report, Run
from mesh.client import Client

WARM_SECONDS = 0.5
DRAIN_SECONDS = 10.0
TOPIC = "bench:light"


class MessageCount:
    """Checks the deliveries: every member must get every sequence number once, in order."""

    def __init__(self, members: int) -> None:
        self.last = [0] * members
        self.wrong = 0
        self.received = 0
        self.latencies: list[float] = []
        self.measuring = False

    def count(self, member: int, payload: Any) -> None:
        """Record one delivery."""
        sent, sequence = payload["t"], payload["n"]
        self.wrong += sequence != self.last[member] + 1
        self.last[member] = sequence
        self.received += 1
        if self.measuring:
            self.latencies.append(time.monotonic() - sent)

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the measured latencies, in milliseconds."""
        ordered = sorted(self.latencies) or [0.0]
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


Publish = Callable[[dict[str, Any]], Awaitable[None]]
Members = Callable[[Run, int, MessageCount, AsyncExitStack], Awaitable[Publish]]


def fixed(members: Members, count: int, per_second: float, size: int = 100) -> Callable[[Run], Report]:
    """Return a row: `count` members of one topic, one of which publishes at this rate."""
    return lambda run: asyncio.run(_measure(members, run, run.capped(count), per_second, size))


async def _measure(members: Members, run: Run, count: int, per_second: float, size: int) -> Report:
    tally = MessageCount(count)
    async with AsyncExitStack() as stack:
        publish = await members(run, count, tally, stack)
        sent = await _publish(publish, 0, int(WARM_SECONDS * per_second) + 1, per_second, size)
        await _wait_for_deliveries(tally, sent * count)
        tally.measuring, before = True, tally.received
        meter = Meter(run.server.pids)
        sent = await _publish(publish, sent, max(1, int(run.seconds * per_second)), per_second, size)
        await _wait_for_deliveries(tally, sent * count)
        report = per_message(meter.report(), tally.received - before)
    missing = sent * count - tally.received
    return {
        **report,
        "ok": not missing and not tally.wrong,
        "missing": missing,
        "reordered": tally.wrong,
        "lat_ms_p50": tally.quantile_ms(0.50),
        "lat_ms_p99": tally.quantile_ms(0.99),
    }


async def _publish(publish: Publish, sent: int, number: int, per_second: float, size: int) -> int:
    """Publish at this rate; latency is measured from when a message was due, not from when it was sent."""
    started = time.monotonic()
    for each in range(number):
        due = started + each / per_second
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        await publish({"t": due, "n": sent + each + 1, "d": "x" * max(0, size - 50)})
    return sent + number


async def _wait_for_deliveries(tally: MessageCount, number: int) -> None:
    end = time.monotonic() + DRAIN_SECONDS
    while tally.received < number and time.monotonic() < end:
        await asyncio.sleep(0.01)


def over(scheme: str, format: str = "json") -> Members:
    """Return what connects members by ws, wss or zeromq."""

    async def join(run: Run, count: int, tally: MessageCount, stack: AsyncExitStack) -> Publish:
        channels = []
        for number in range(count):
            client = await stack.enter_async_context(_client(run, scheme, format, number))
            channel = await client.join(TOPIC)
            channel.on("new_msg", lambda payload, member=number: tally.count(member, payload))
            channels.append(channel)
        return lambda payload: channels[0].cast("new_msg", payload)

    return join


def _client(run: Run, scheme: str, format: str, number: int) -> Client:
    if scheme == "zeromq":
        return Client(run.server.zeromq_addresses()[0])
    host = run.server.hosts[number % len(run.server.hosts)]
    trust = tls.trust_anyone() if scheme == "wss" else None
    return Client(f"{scheme}://{host}/socket", format=format, ssl=trust)  # type: ignore[arg-type]


async def by_longpoll(run: Run, count: int, tally: MessageCount, stack: AsyncExitStack) -> Publish:
    """Connect members by long-poll."""
    sessions = []
    for number in range(count):
        session = longpoll.Session(run.server.hosts[number % len(run.server.hosts)])
        stack.push_async_callback(session.aclose)
        await session.join(TOPIC)
        session.follow("new_msg", lambda payload, member=number: tally.count(member, payload))
        sessions.append(session)
    return lambda payload: sessions[0].push(TOPIC, "new_msg", payload)
