"""Measures how soon each client gets its phx_error when a worker with thousands of channels is killed.

The row adds a second worker to the server, which gets about half of the channels, and kills it with
SIGKILL. Meanwhile one connection pushes at a fixed rate; the delay of its broadcasts is the delay for
clients of the surviving worker. Then the clients rejoin, and all of them must succeed.
"""

import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.processes import thread_seconds
from bench.rawsocket import RawSocket
from bench.row import Report, Run
from bench.servers import APP, SETTLE_SECONDS, Server
from harness.processes import ROOT, Process, wait_for

CONNECTIONS = 100
FLOWS = 16
"""Topics of the pushes; some of them are on the surviving worker."""
PUSHES_PER_SECOND = 200
LEAST_TOPICS = 16
"""Topics that are enough for each worker to get some of them."""
PATIENCE_SECONDS = 60.0
SILENCE_SECONDS = 2.0
"""The measurement ends when no phx_error has arrived for this long."""
ERROR = re.compile(rb'^\["1","1","([^"]+)","phx_error"')
FLOW = re.compile(rb'"new_msg",\{"at":([\d.]+)\}')
SETTINGS = {"MESH_GATEWAY__MAX_CHANNELS_PER_SOCKET": "100000"}

Joined = tuple[RawSocket, str]
"""One channel: its connection and its topic."""


def killed(channels: int, per_topic: int, busy: int = 0) -> Callable[[Run], Report]:
    """Return a row: a number of channels, `per_topic` on each topic, with `busy` CPU-bound processes."""

    def work(run: Run) -> Report:
        members = run.capped(per_topic)
        topics = max(LEAST_TOPICS, run.capped(channels) // members)
        sockets = max(members, run.capped(CONNECTIONS))
        with ExitStack() as stack:
            victim = stack.enter_context(_second_worker(run))
            joined = stack.enter_context(_joined(run.server, topics, members, sockets))
            flow = RawSocket(run.server.hosts[0])
            stack.callback(flow.close)
            flow.join([f"bench:flow-{each}" for each in range(FLOWS)])
            stack.enter_context(_busy(busy))
            death = Death(run.server.parts["gateway"][0], joined, flow)
            death.flow(run.seconds / 2)
            death.kill(victim)
            death.wait()
            return death.report()

    return work


class Death:
    """One death of a worker, as the clients see it."""

    def __init__(self, gateway: int, joined: Sequence[Joined], flow: RawSocket) -> None:
        self._gateway = gateway
        self._flow = flow
        self._sockets = list(dict.fromkeys(socket for socket, _ in joined))
        self._selector = selectors.DefaultSelector()
        for each in [*self._sockets, flow]:
            self._selector.register(each, selectors.EVENT_READ, each)
        self._lost: list[Joined] = []
        self._error_delays: list[float] = []
        self._flow_delays: list[float] = []
        self._started_at = self._last_error_at = time.monotonic()
        self._pushed = 0
        self._killed_at = self._cpu = self._cpu_used = 0.0

    def flow(self, seconds: float) -> None:
        """Push and read for this many seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._step()

    def kill(self, victim: Process) -> None:
        """Kill the worker."""
        self._flow_delays.clear()
        self._cpu = thread_seconds(self._gateway)
        self._killed_at = self._last_error_at = time.monotonic()
        victim.signal(signal.SIGKILL)

    def wait(self) -> None:
        """Push and read until no more phx_error arrives."""
        while not self._lost or time.monotonic() < self._last_error_at + SILENCE_SECONDS:
            if time.monotonic() > self._killed_at + PATIENCE_SECONDS:
                raise RuntimeError("no phx_error arrived")
            self._step()

    def report(self) -> Report:
        """Return the measurements; the clients rejoin."""
        delays = sorted(self._error_delays)
        started_at = time.monotonic()
        for socket in self._sockets:
            socket.join([topic for each, topic in self._lost if each is socket])
        return {
            "lost": len(delays),
            "error_ms_median": 1000 * delays[len(delays) // 2],
            "error_ms_p99": 1000 * delays[int(0.99 * (len(delays) - 1))],
            "error_ms_max": 1000 * delays[-1],
            "error_cpu_ms": 1000 * self._cpu_used,
            "flow_ms_max": 1000 * max(self._flow_delays, default=0.0),
            "rejoin_s": time.monotonic() - started_at,
            "ok": len(delays) > 0 and len(delays) == len(set(self._lost)) and bool(self._flow_delays),
        }

    def _step(self) -> None:
        """Push what is due, and read what has arrived; parse it only after all of it has been read."""
        now = time.monotonic()
        if now >= self._started_at + self._pushed / PUSHES_PER_SECOND:
            topic = f"bench:flow-{self._pushed % FLOWS}"
            self._flow.push(topic, "new_msg", f'{{"at":{now:.6f}}}')
            self._pushed += 1
        arrived = []
        for key, _ in self._selector.select(0.001):
            key.data.read()
            arrived.append((time.monotonic(), key.data))
        for at, socket in arrived:
            for message in socket.messages():
                self._message(at, socket, message)

    def _message(self, at: float, socket: RawSocket, message: bytes) -> None:
        flowed = FLOW.search(message)
        if flowed is not None:
            self._flow_delays.append(at - float(flowed[1]))
            return
        error = ERROR.match(message)
        if error is None:
            return
        if socket is not self._flow:
            self._lost.append((socket, error[1].decode()))
            self._error_delays.append(at - self._killed_at)
            self._last_error_at = at
            self._cpu_used = thread_seconds(self._gateway) - self._cpu


@contextmanager
def _second_worker(run: Run) -> Iterator[Process]:
    """Start the worker that will be killed."""
    arguments = ["worker", APP, *(f"--proxy={each}" for each in run.server.proxies)]
    process = Process(arguments, run.directory / "second.log", SETTINGS)
    try:
        wait_for(lambda: "worker" in process.printed(), process)
        time.sleep(SETTLE_SECONDS)
        yield process
    finally:
        process.kill()


@contextmanager
def _joined(server: Server, topics: int, members: int, connections: int) -> Iterator[list[Joined]]:
    """Join this many members to each topic, spread over the connections."""
    sockets = [RawSocket(server.hosts[0]) for _ in range(connections)]
    names = [f"bench:{number}" for number in range(topics)]
    joined = [
        (sockets[(number * members + member) % connections], topic)
        for number, topic in enumerate(names)
        for member in range(members)
    ]
    try:
        for socket in sockets:
            socket.join([topic for each, topic in joined if each is socket])
        yield joined
    finally:
        for socket in sockets:
            socket.close()


@contextmanager
def _busy(processes: int) -> Iterator[None]:
    """Run this many processes that only use CPU time."""
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command, cwd=ROOT) for _ in range(processes)]
    try:
        yield
    finally:
        for each in running:
            each.kill()
            each.wait()
