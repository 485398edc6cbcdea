"""Kills and freezes the nodes of a cluster under load, and counts what was lost: nothing.

    python scripts/chaos.py [--seconds 60] [--seed 1] [--proxies 2] [--plot chaos.png] [--json chaos.json]

Starts `mesh cluster`, programs that publish numbers to topics over the bus, a client that pushes numbers
and has each acknowledged, and clients at every gateway that read them. Then, by a schedule made from the
seed, it kills (SIGKILL), freezes (SIGSTOP, SIGCONT) and restarts (SIGTERM) nodes of every kind, one at a
time, and has all of them restarted one by one (SIGHUP to the cluster). At the end it says what was sent
while readers were joined, and what was lost, doubled or out of order; exit code 1 if anything was.

A reader is owed what was published after it saw its join answered, and confirmed before it saw its channel
or connection end; if that was because its gateway was frozen, before the gateway froze. Nobody is owed what
was published while it was not joined.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mesh
from mesh.client import Client, ClientChannel, ClientError

APP = "scripts.chaos_app:endpoint"
CONFIRM_SECONDS = 30.0
SETTLE_SECONDS = 30.0
GRACE_SECONDS = 0.5
"""What was confirmed so shortly before a channel's end may have been on its way: nobody could say."""
FREEZE_SECONDS = 4.0
FAULTS = {
    "roll": signal.SIGHUP,
    "kill": signal.SIGKILL,
    "freeze": signal.SIGSTOP,
    "restart": signal.SIGTERM,
}
KINDS = ("proxies", "workers", "gateways")


@dataclass
class Sent:
    """One message: when its publishing began, and when it was confirmed."""

    began: float
    confirmed: float | None = None


@dataclass
class Stay:
    """A time in which a reader was joined to a topic, and what it got."""

    since: float
    until: float = float("inf")
    got: list[tuple[str, int, float]] = field(default_factory=list)


@dataclass
class Fault:
    """One thing done to one node."""

    what: str
    kind: str
    index: int
    at: float = 0.0
    over: float = 0.0

    @property
    def name(self) -> str:
        """What and whom, as in the table."""
        return f"{self.what} {self.kind.removesuffix('s').replace('proxie', 'proxy')}".strip()


class Cluster:
    """`mesh cluster`, as its status file shows it."""

    def __init__(self, directory: Path, options: argparse.Namespace) -> None:
        self._status = directory / "status.json"
        self.log = (directory / "cluster.log").open("w+")
        counts = [f"--{kind}={getattr(options, kind)}" for kind in KINDS]
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "nodes",
                "cluster",
                APP,
                "--port=0",
                f"--status-file={self._status}",
                *counts,
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "MESH_DRAIN__INTERVAL_SECONDS": "0"},
        )

    def status(self) -> dict[str, Any]:
        """What the file says now."""
        status: dict[str, Any] = json.loads(self._status.read_text())
        return status

    async def up(self) -> None:
        """Until every node runs and every gateway answers /readyz."""
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(self._ready):
                if self._process.poll() is not None:
                    self.log.seek(0)
                    sys.exit(f"the cluster ended:\n{self.log.read()}")
                await asyncio.sleep(0.1)

    def _ready(self) -> bool:
        import urllib.request

        if not self._status.exists():
            return False
        status = self.status()
        if not all(node["pid"] for kind in KINDS for node in status[kind]):
            return False
        try:
            for gateway in status["gateways"]:
                with urllib.request.urlopen(gateway["url"] + "/readyz", timeout=2) as answer:
                    if answer.status != 200:
                        return False
        except OSError:
            return False
        return True

    def pids(self) -> set[int | None]:
        """Of every node."""
        status = self.status()
        return {node["pid"] for kind in KINDS for node in status[kind]}

    def roll(self) -> None:
        """SIGHUP: restart every node, one by one."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._process.terminate()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self.log.close()


class Load:
    """Publishers and readers, and what they saw."""

    def __init__(self, cluster: Cluster, options: argparse.Namespace) -> None:
        self.topics = [f"room:{number}" for number in range(options.topics)]
        self.sent: dict[tuple[str, str], list[Sent]] = {}
        self.stays: dict[tuple[str, str], list[Stay]] = {}
        self.unacknowledged = 0
        self.freezes: list[Fault] = []
        self._cluster = cluster
        self._interval = options.topics / options.rate
        self._ended = False
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Connect everybody and begin."""
        status = self._cluster.status()
        proxies = [each["address"] for each in status["proxies"]]
        for number, gateway in enumerate(status["gateways"], 1):
            await self._read(f"reader {number}", gateway["url"])
        pubsub = await self._stack.enter_async_context(
            mesh.connect(*proxies, timeout_seconds=CONFIRM_SECONDS)
        )
        for topic in self.topics:
            self._tasks.append(asyncio.create_task(self._publish("bus", topic, pubsub.broadcast)))
        pusher = await self._client(status["gateways"][0]["url"])
        for topic in self.topics:
            room = await pusher.join(topic)
            room.on("n", lambda _: None)
            self._tasks.append(asyncio.create_task(self._push(topic, room)))

    async def end(self) -> None:
        """Publish no more, wait until readers have everything, hang up."""
        self._ended = True
        await asyncio.gather(*self._tasks)
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline and any(verdict.lost for verdict in self.verdicts()):
            await asyncio.sleep(0.2)
        await self._stack.aclose()

    async def _client(self, url: str) -> Client:
        address = url.replace("http", "ws", 1) + "/socket"
        retries = (0.05, 0.1, 0.2, 0.5)
        client = Client(address, reconnect_seconds=retries, rejoin_seconds=retries, timeout_seconds=5.0)
        return await self._stack.enter_async_context(client)

    async def _publish(self, name: str, topic: str, publish: Callable[..., Any]) -> None:
        sent = self.sent[name, topic] = []
        while not self._ended:
            message = Sent(time.monotonic())
            sent.append(message)
            await publish(topic, "n", {"from": name, "n": len(sent)})
            message.confirmed = time.monotonic()
            await asyncio.sleep(self._interval)

    async def _push(self, topic: str, room: ClientChannel) -> None:
        """A push that is not acknowledged may have been carried out or not; its number is used up."""
        sent = self.sent["pushes", topic] = []
        while not self._ended:
            message = Sent(time.monotonic())
            sent.append(message)
            try:
                await room.push("say", {"from": "pushes", "n": len(sent)}, timeout_seconds=2.0)
                message.confirmed = time.monotonic()
            except ClientError:
                self.unacknowledged += 1
            await asyncio.sleep(self._interval)

    async def _read(self, reader: str, url: str) -> None:
        client = await self._client(url)
        for topic in self.topics:
            stays = self.stays[reader, topic] = []
            room = client.channel(topic)
            room.on_state(lambda state, _reason, stays=stays: self._state(stays, state))
            room.on("n", lambda payload, stays=stays: self._got(stays, payload))
            await room.join()

    def _state(self, stays: list[Stay], state: str) -> None:
        now = time.monotonic()
        if state == "joined":
            stays.append(Stay(now))
        elif stays and stays[-1].until == float("inf"):
            stays[-1].until = now

    def _got(self, stays: list[Stay], payload: Any) -> None:
        stays[-1].got.append((payload["from"], payload["n"], time.monotonic()))

    def verdicts(self) -> "list[Verdict]":
        """What became of each publisher's messages at each reader and topic."""
        return [
            self._judge(reader, name, topic, stays)
            for (reader, topic), stays in self.stays.items()
            for name in ("bus", "pushes")
        ]

    def _end(self, stay: Stay) -> float:
        for fault in self.freezes:
            if fault.at < stay.until < fault.over + 1.0:
                return fault.at
        return stay.until

    def _judge(self, reader: str, name: str, topic: str, stays: list[Stay]) -> "Verdict":
        verdict = Verdict(reader, name, topic)
        sent = self.sent[name, topic]
        verdict.sent = len(sent)
        for stay in stays:
            until = self._end(stay)
            mine = [(number, at) for source, number, at in stay.got if source == name]
            numbers = [number for number, _ in mine]
            got = set(numbers)
            verdict.delivered += len(got)
            verdict.doubled += len(numbers) - len(got)
            for one, two in itertools.pairwise(mine):
                if one[0] > two[0]:
                    verdict.misordered += 1
                    verdict.misordered_at.append(two[1])
            for number, message in enumerate(sent, 1):
                owed = (
                    message.confirmed is not None
                    and message.began > stay.since
                    and message.confirmed < until - GRACE_SECONDS
                )
                if owed and number not in got:
                    verdict.lost += 1
                    verdict.lost_at.append(message.began)
            for number, at in mine:
                verdict.delays.append((sent[number - 1].began, at - sent[number - 1].began))
        return verdict


@dataclass
class Verdict:
    """What one reader saw of one publisher on one topic."""

    reader: str
    source: str
    topic: str
    sent: int = 0
    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    misordered: int = 0
    misordered_at: list[float] = field(default_factory=list)
    lost_at: list[float] = field(default_factory=list)
    delays: list[tuple[float, float]] = field(default_factory=list)


async def inflict(cluster: Cluster, fault: Fault) -> None:
    """Do it, and wait until the cluster is whole again."""
    if fault.what == "roll":
        await roll(cluster, fault)
        return
    node = cluster.status()[fault.kind][fault.index]
    fault.at = time.monotonic()
    os.kill(node["pid"], FAULTS[fault.what])
    if fault.what == "freeze":
        try:
            await asyncio.sleep(FREEZE_SECONDS)
        finally:
            os.kill(node["pid"], signal.SIGCONT)
    else:
        async with asyncio.timeout(60):
            while cluster.status()[fault.kind][fault.index]["pid"] in (None, node["pid"]):
                await asyncio.sleep(0.05)
    await cluster.up()
    fault.over = time.monotonic()


async def roll(cluster: Cluster, fault: Fault) -> None:
    """Have every node restarted, one by one."""
    before = cluster.pids()
    fault.at = time.monotonic()
    cluster.roll()
    async with asyncio.timeout(240):
        while None in (pids := cluster.pids()) or pids & before:
            await asyncio.sleep(0.2)
    await cluster.up()
    fault.over = time.monotonic()


def schedule(options: argparse.Namespace) -> "AsyncIterator[Fault]":
    """Faults without end: every combination once in random order, then again."""
    chance = random.Random(options.seed)

    async def faults() -> AsyncIterator[Fault]:
        while True:
            deck = [(what, kind) for what in options.faults if what != "roll" for kind in KINDS]
            deck += [("roll", "")] if "roll" in options.faults else []
            chance.shuffle(deck)
            for what, kind in deck:
                await asyncio.sleep(chance.uniform(0.5, 2.0))
                yield Fault(what, kind, chance.randrange(getattr(options, kind)) if kind else 0)

    return faults()


async def run(options: argparse.Namespace, directory: Path) -> tuple[Load, list[Fault], float]:
    """The whole experiment."""
    cluster = Cluster(directory, options)
    done: list[Fault] = []
    try:
        await cluster.up()
        load = Load(cluster, options)
        await load.start()
        began = time.monotonic()
        async for fault in schedule(options):
            if time.monotonic() - began > options.seconds:
                break
            await inflict(cluster, fault)
            done.append(fault)
            if (fault.what, fault.kind) == ("freeze", "gateways"):
                load.freezes.append(fault)
            print(f"{fault.at - began:7.1f} s  {fault.name} {fault.index + 1}", flush=True)
        await asyncio.sleep(1.0)
        await load.end()
    finally:
        cluster.stop()
    return load, done, began


def gap(verdicts: list[Verdict], fault: Fault) -> float:
    """The worst delay, in seconds, of what was published from a fault to the cluster's recovery."""
    return max(
        (
            delay
            for verdict in verdicts
            for began, delay in verdict.delays
            if fault.at - 0.1 <= began <= fault.over
        ),
        default=0.0,
    )


def report(load: Load, faults: list[Fault], began: float) -> dict[str, Any]:
    """Print the table; returns the same as a dict."""
    verdicts = load.verdicts()
    rows = {}
    print(f"\n{'publisher':12}{'sent':>9}{'delivered':>11}{'lost':>7}{'doubled':>9}{'misordered':>12}")
    for source in ("bus", "pushes"):
        mine = [each for each in verdicts if each.source == source]
        sent = sum(len(load.sent[source, topic]) for topic in load.topics)
        rows[source] = {
            "sent": sent,
            **{
                name: sum(getattr(each, name) for each in mine)
                for name in ("delivered", "lost", "doubled", "misordered")
            },
        }
        row = rows[source]
        print(
            f"{source:12}{sent:9}{row['delivered']:11}{row['lost']:7}{row['doubled']:9}{row['misordered']:12}"
        )
    for each in verdicts:
        for what, at in (("lost", each.lost_at), ("misordered", each.misordered_at)):
            if at:
                where = f"{min(at) - began:.3f} to {max(at) - began:.3f} s"
                print(f"  {each.reader}, {each.topic}, {each.source}: {len(at)} {what}, {where}")
    print(f"pushes without an answer: {load.unacknowledged}")
    print(f"\n{'fault':18}{'times':>6}{'worst gap (ms)':>16}")
    gaps = {}
    for name in dict.fromkeys(fault.name for fault in faults):
        mine_too = [fault for fault in faults if fault.name == name]
        gaps[name] = max(gap(verdicts, fault) for fault in mine_too) * 1000
        print(f"{name:18}{len(mine_too):6}{gaps[name]:16.0f}")
    return {"publishers": rows, "unacknowledged": load.unacknowledged, "worst_gap_ms": gaps}


def plot(path: Path, load: Load, faults: list[Fault], began: float) -> None:
    """Delay of every delivery over time, with the faults."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(12, 5))
    points = [point for verdict in load.verdicts() for point in verdict.delays]
    axes.scatter([at - began for at, _ in points], [delay * 1000 for _, delay in points], s=1)
    for fault in faults:
        axes.axvspan(fault.at - began, fault.over - began, alpha=0.1, color="red")
        axes.text(fault.at - began, axes.get_ylim()[1], fault.name, rotation=90, va="top", fontsize=6)
    axes.set(yscale="log", xlabel="seconds", ylabel="ms from publishing to delivery")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run it, print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60, help="faults are inflicted for so long")
    parser.add_argument("--seed", type=int, default=1, help="of the schedule")
    parser.add_argument("--gateways", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--proxies", type=int, default=2)
    parser.add_argument("--topics", type=int, default=12)
    parser.add_argument("--rate", type=float, default=200, help="messages a second, of each publisher")
    parser.add_argument(
        "--faults", nargs="+", choices=list(FAULTS), default=["kill", "freeze", "restart", "roll"]
    )
    parser.add_argument("--json", type=Path, help="write the result there")
    parser.add_argument("--plot", type=Path, help="write a plot there (needs matplotlib)")
    parser.add_argument("--log", type=Path, help="keep the cluster's log there")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        try:
            load, faults, began = asyncio.run(run(options, directory))
        finally:
            if options.log is not None:
                options.log.write_text((directory / "cluster.log").read_text())
        result = report(load, faults, began)
    if options.json is not None:
        options.json.write_text(json.dumps({"seed": options.seed, **result}, indent=1))
    if options.plot is not None:
        plot(options.plot, load, faults, began)
    if any(row["lost"] or row["doubled"] or row["misordered"] for row in result["publishers"].values()):
        sys.exit("something was lost, doubled or misordered")


if __name__ == "__main__":
    main()
