"""Runs thousands of fast, slow and hostile clients, after which a mesh must have nothing left of them.

    python scripts/soak.py --cycles 100000 --kinds presence
    python scripts/soak.py --seconds 600 [--embedded] [--json FILE] [--plot FILE]

It starts a proxy, a worker and a gateway (or, embedded, one process), and runs clients from their
connection to their end (scripts/harness/crowd.py), while an observer stays connected. When all others are
gone, the connections, channels, topics, mailboxes, unsent bytes and presences must be the observer's alone,
all connections and joins must be accounted for, and memory must have been flat since the first fifth of the
run. The exit code is 1 if any of this fails.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from harness import memory, picture
from harness.crowd import KINDS, SHARED, WEIGHTS, Crowd, run_client
from harness.memory import Sample
from harness.mutate import Mutator
from harness.nodes import Nodes, running
from mesh.client import Client, ClientChannel
from mesh.client.presence import Presence

SETTINGS = {
    "MESH_GATEWAY__MAX_UNSENT_BYTES": "300000",  # clients that do not read are closed early
    "MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "5",
    "MESH_LONGPOLL__WINDOW_SECONDS": "2",
}
SETTLE_SECONDS = 120.0
SAMPLES = 100
OBSERVER = "observer"
FLAT = {True: "yes", False: "NO", None: f"(judged from {memory.MIN_CYCLES} cycles on)"}


class Observer:
    """A client on every shared topic during the run, which keeps its presence lists by diffs alone."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rooms: dict[str, ClientChannel] = {}
        self._presences: dict[str, Presence] = {}

    async def join_all(self) -> None:
        """Join all shared topics; rejoin those that it has joined before."""
        for room in self._rooms.values():
            await room.leave()
        for topic in SHARED:
            room = self._rooms[topic] = self._client.channel(topic)
            self._presences[topic] = room.presence()
            await room.join()
        async with asyncio.timeout(SETTLE_SECONDS):
            while not all(OBSERVER in each.state for each in self._presences.values()):
                await asyncio.sleep(0.05)

    def strangers(self) -> list[str]:
        """Return who is on the presence lists, except for the observer itself."""
        found = []
        for topic, present in self._presences.items():
            found += [f"presence: {key} on {topic}" for key in present.state if key != OBSERVER]
            if len(present.state.get(OBSERVER, {}).get("metas", ())) != 1:
                found.append(f"presence: not the observer once on {topic}")
        return found


class Soak:
    """One run."""

    def __init__(self, options: argparse.Namespace, nodes: Nodes) -> None:
        self.crowd = Crowd(nodes.port, nodes.zeromq, Mutator(options.seed))
        self.samples: list[Sample] = []
        self.wrong: list[str] = []
        self._options = options
        self._nodes = nodes
        self._started_at = time.monotonic()
        self._kinds = options.kinds or list(KINDS)
        self._weights = [WEIGHTS.get(kind, 1) for kind in self._kinds]

    async def run(self) -> None:
        """Run the soak test, up to the final checks."""
        self._started_at = time.monotonic()
        address = f"ws://127.0.0.1:{self._nodes.port}/socket"
        async with Client(address, params={"user_id": OBSERVER}) as client:
            observer = Observer(client)
            await observer.join_all()
            self._sample()
            kinds = self._kinds_to_run()
            await asyncio.gather(*(self._run_clients(kinds) for _ in range(self._options.clients)))
            self._sample()
            await self._settle(observer)
            await observer.join_all()  # rejoin, to check the state that the server sends
            self.wrong += observer.strangers()[:10]
            await self._compare_counts()
        await self._until_gauges(connections=0, channels=0)
        self.wrong += self.crowd.problems[:10]
        self._check_nodes()

    def _kinds_to_run(self) -> Iterator[str]:
        """Yield the kind of each further client."""
        rng = self.crowd.rng
        while not self._finished():
            yield rng.choices(self._kinds, self._weights)[0]

    def _finished(self) -> bool:
        if self._options.seconds is not None:
            return time.monotonic() - self._started_at > self._options.seconds
        return bool(self.crowd.started >= self._options.cycles)

    async def _run_clients(self, kinds: Iterator[str]) -> None:
        for kind in kinds:
            await run_client(self.crowd, kind)
            if self._progress() >= (len(self.samples) - 1) / SAMPLES:
                self._sample()

    def _progress(self) -> float:
        if self._options.seconds is not None:
            return (time.monotonic() - self._started_at) / float(self._options.seconds)
        return sum(self.crowd.lives.values()) / float(self._options.cycles)

    def _sample(self) -> None:
        kilobytes = {name: self._nodes.kilobytes(name) for name in self._nodes.processes}
        cycles = sum(self.crowd.lives.values())
        self.samples.append(Sample(time.monotonic() - self._started_at, cycles, kilobytes))
        if len(self.samples) % 10 == 2:
            rss = "  ".join(f"{name} {size / 1024:.1f} MB" for name, size in kilobytes.items())
            print(f"{self.samples[-1].seconds:7.0f} s {cycles:9} cycles  {rss}", flush=True)

    # The end

    async def _settle(self, observer: Observer) -> None:
        await self._until_gauges(connections=1, channels=len(SHARED))
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while observer.strangers():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.wrong += observer.strangers()[:10]

    async def _until_gauges(self, connections: int, channels: int) -> None:
        """Wait until the nodes hold nothing else; add to `wrong` what they still hold at the time-out."""
        want = {"open_connections": connections, "open_channels": channels, "topics": channels}
        want |= {"unsent_bytes": 0, "mailbox_messages": 0, "bus_backlog_messages": 0}
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = [each async for each in self._differences(want)]
            if not found or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        self.wrong += found

    async def _differences(self, want: dict[str, int]) -> AsyncIterator[str]:
        for node in self._nodes.admin:
            metrics = await self._nodes.metrics(node)
            for name, value in want.items():
                if name in metrics and metrics[name] != value:
                    yield f"{node}: {name} is {metrics[name]:g}, not {value}"

    async def _compare_counts(self) -> None:
        """Compare the nodes' counts with the clients', except for clients that disconnected early."""
        crowd = self.crowd
        opened = (await self._nodes.metrics(self._nodes.clients_node))["connections_total"] - 1
        if not crowd.connections <= opened <= crowd.connections + crowd.unknown:
            self.wrong.append(
                f"connections: {opened:g}, clients opened {crowd.connections}, perhaps {crowd.unknown} more"
            )
        joined = (await self._nodes.metrics(self._nodes.channels_node))["joins_total"]
        joined -= 2 * len(SHARED)  # the observer's
        if joined < crowd.joins or (joined > crowd.joins and not crowd.unknown_joins):
            self.wrong.append(f"joins: {joined:g}, clients counted {crowd.joins}")

    def _check_nodes(self) -> None:
        for name in self._nodes.processes:
            if not self._nodes.processes[name].alive():
                self.wrong.append(f"{name} has ended")
            if self._nodes.internal_errors(name):
                self.wrong.append(f"{name} logged {self._nodes.internal_errors(name)} internal errors")
            if memory.verdict(self.samples, name).flat is False:
                self.wrong.append(f"the memory of {name} grows")

    # The result

    def result(self) -> dict[str, Any]:
        """Return the whole result, for JSON."""
        verdicts = {name: memory.verdict(self.samples, name)._asdict() for name in self._nodes.processes}
        return {
            "seed": self._options.seed,
            "seconds": round(self.samples[-1].seconds, 1),
            "lives": self.crowd.lives,
            "connections": self.crowd.connections,
            "joins": self.crowd.joins,
            "memory": verdicts,
            "samples": [each._asdict() for each in self.samples],
            "wrong": self.wrong,
        }


def show(result: dict[str, Any]) -> None:
    """Print a table."""
    cycles = sum(result["lives"].values())
    print(f"\n{cycles} cycles in {result['seconds']:.0f} s, seed {result['seed']}: ", end="")
    print(", ".join(f"{kind} {number}" for kind, number in sorted(result["lives"].items())))
    print(f"{result['connections']} connections, {result['joins']} joins: all accounted for, or see below")
    print(f"\n{'node':10}{'warm (kB)':>12}{'end (kB)':>12}{'bytes a cycle':>16}  flat")
    for name, each in result["memory"].items():
        slope = each["bytes_per_cycle"]
        print(f"{name:10}{each['warm']:12}{each['end']:12}{slope:16.1f}  {FLAT[each['flat']]}")


def plot(path: Path, result: dict[str, Any]) -> None:
    """Plot the memory of each node over the cycles."""
    figure, axes = picture.pyplot().subplots(figsize=(10, 4))
    samples = result["samples"]
    for name in result["memory"]:
        megabytes = [each["kilobytes"][name] / 1024 for each in samples]
        axes.plot([each["cycles"] for each in samples], megabytes, label=name)
    axes.set(xlabel="clients that have come and gone", ylabel="MB resident", ylim=(0, None))
    axes.legend()
    figure.savefig(path, dpi=120)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=10_000, help="number of clients (10000)")
    parser.add_argument("--seconds", type=float, help="duration, instead of --cycles")
    parser.add_argument("--clients", type=int, default=64, help="number of clients at a time (64)")
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), help="only these kinds of clients")
    parser.add_argument("--embedded", action="store_true", help="one process instead of three")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--plot", type=Path, help="write a plot to this file; needs matplotlib")
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    options = parser.parse_args()
    if options.plot is not None:
        picture.check()
    return options


def main() -> None:
    """Run it and print the result."""
    options = arguments()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        with running(options.logs or Path(name), options.embedded, SETTINGS) as nodes:
            soak = Soak(options, nodes)
            asyncio.run(soak.run())
        result = soak.result()
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    if options.plot is not None:
        plot(options.plot, result)
    if soak.wrong:
        sys.exit("\n".join(["", *soak.wrong]))


if __name__ == "__main__":
    main()
