"""Counts the bytecodes, or the machine instructions, that an embedded server executes for one message.

    python scripts/bytecodes.py
    python scripts/bytecodes.py --compare ../before --repeat 5
    python scripts/bytecodes.py --compare ../before --repeat 3 --instructions

Unlike CPU time, these counts depend neither on the machine nor on other work on it, so they show small
differences between two checkouts. Bytecodes do not include the cost of C code such as JSON and ZeroMQ.
Instructions do, except in the kernel; they are counted by valgrind (callgrind), which must be installed.
Checkouts are counted alternately, and what an idle server executes in the same time is subtracted. Under
valgrind that share is large, and other work on the machine makes it a rough estimate: trust a ratio only if
the lowest and the highest count of one checkout agree. Work with histories is counted with an application
of its own, and only in checkouts that have it.
"""

import argparse
import asyncio
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from bench.servers import APP, HISTORY_APP, listening
from harness.processes import ROOT, Process, command_module, wait_for
from harness.websocket import WebSocket

HARNESS = Path(__file__).parent / "harness"
SETTINGS = {
    "MESH_LOG__LEVEL": "error",
    "MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "600",
    "PYTHONHASHSEED": "0",
}
MEMBERS = 10
CROWD = 50
BURST = 10
"""The broadcasts that a channel makes for one push."""
IDLE_SECONDS = 2.0
PAYLOAD = {"text": "x" * 80}

MISSED = 20

Work = Callable[[int], Awaitable[None]]
Works = dict[str, tuple[Work, int]]
"""The kinds of work by name: a function that repeats it, and the number of repetitions."""


class Counter(Protocol):
    """Counts what a server has executed since `start`."""

    def start(self) -> None:
        """Start counting, which makes the server much slower."""

    def read(self) -> int:
        """Return the count so far."""


class Instructions:
    """Machine instructions in all threads, counted by valgrind."""

    program = HARNESS / "under_valgrind.py"

    def __init__(self, process: Process) -> None:
        self._pid = str(process.pid)

    def start(self) -> None:
        """Count from now on."""
        self._control("--instr=on")

    def read(self) -> int:
        """Return the count so far."""
        counts = re.findall(r"^ *Th \d+ +([\d,]+)", self._control("-e", "Ir"), re.MULTILINE)
        return sum(int(each.replace(",", "")) for each in counts)

    def _control(self, *arguments: str) -> str:
        command = ["callgrind_control", *arguments, self._pid]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Bytecodes:
    """Bytecodes in the main thread."""

    program = HARNESS / "counted.py"

    def __init__(self, process: Process) -> None:
        self._process = process
        self._signals_sent = 0

    def start(self) -> None:
        """Count from now on."""
        self._signal_and_read(signal.SIGUSR1)

    def read(self) -> int:
        """Return the count so far."""
        return self._signal_and_read(signal.SIGUSR2)

    def _signal_and_read(self, number: signal.Signals) -> int:
        self._signals_sent += 1
        self._process.signal(number)
        return int(wait_for(self._answer, self._process))

    def _answer(self) -> str | None:
        found = re.findall(r"bytecodes (\d+)\n", self._process.printed())
        return found[-1] if len(found) == self._signals_sent else None


async def works(port: int) -> Works:
    """Return the work for the application without histories."""
    members = [await WebSocket.connect(port) for _ in range(MEMBERS)]
    for member in members:
        await member.join("room:members")
    alone = await WebSocket.connect(port)
    await alone.join("room:alone")

    async def echo(times: int) -> None:
        for _ in range(times):
            await alone.reply(alone.send("room:alone", "echo", PAYLOAD))

    crowd = [await WebSocket.connect(port) for _ in range(CROWD)]
    for number, member in enumerate(crowd):
        await member.join(f"room:crowd-{number}")

    async def echoes(times: int) -> None:
        for _ in range(times // CROWD):
            refs = [each.send(f"room:crowd-{number}", "echo", PAYLOAD) for number, each in enumerate(crowd)]
            for member, ref in zip(crowd, refs, strict=True):
                await member.reply(ref)

    async def fan_out(times: int) -> None:
        for _ in range(times):
            members[0].send("room:members", "new_msg", PAYLOAD)
            for member in members:
                while (await member.receive())[3] != "new_msg":
                    pass  # the sender's reply

    async def join(times: int) -> None:
        for _ in range(times):
            client = await WebSocket.connect(port)
            await client.join("room:new")
            await client.close()

    return {
        "echo: a push and its reply": (echo, 150),
        f"the same, {CROWD} at a time": (echoes, 20 * CROWD),
        f"fan-out: a push, a broadcast to {MEMBERS}": (fan_out, 60),
        "connect, join, close": (join, 40),
    }


async def history_works(port: int) -> Works:
    """Return the work for the application with histories: topics without one, and with one."""
    counted: Works = {}
    for prefix, payload, words in (
        ("bench", {}, "without history"),
        ("kept", {}, "with history"),
        ("kept", {"history": {}}, "with positions"),
    ):
        topic = f"{prefix}:{len(counted)}"
        members = [await WebSocket.connect(port) for _ in range(MEMBERS)]
        for member in members:
            await member.join(topic, payload)
        counted[f"fan-out to {MEMBERS} {words}"] = _fan_out(members, topic), 60
        alone = await WebSocket.connect(port)
        await alone.join(f"{topic}-alone", payload)
        counted[f"a broadcast {words}"] = _bursts(alone, f"{topic}-alone"), 20 * BURST

    publisher = await WebSocket.connect(port)
    await publisher.join("kept:missed")
    publisher.send("kept:missed", "burst", {"times": MISSED, "d": "x" * 80})

    async def recover(times: int) -> None:
        for _ in range(times):
            client = await WebSocket.connect(port)
            await client.join("kept:missed", {"history": {"last": MISSED}})
            await _receive(client, MISSED)
            await client.close()

    async def join(times: int) -> None:
        for _ in range(times):
            client = await WebSocket.connect(port)
            await client.join("kept:missed")
            await client.close()

    counted["connect, join a topic with history, close"] = join, 40
    counted[f"the same, and recover {MISSED}"] = recover, 40
    return counted


def _fan_out(members: list[WebSocket], topic: str) -> Work:
    async def fan_out(times: int) -> None:
        for _ in range(times):
            members[0].send(topic, "new_msg", PAYLOAD)
            for member in members:
                await _receive(member, 1)

    return fan_out


def _bursts(member: WebSocket, topic: str) -> Work:
    async def bursts(times: int) -> None:
        for _ in range(times // BURST):
            member.send(topic, "burst", {"times": BURST, "d": PAYLOAD["text"]})
            await _receive(member, BURST)

    return bursts


async def _receive(member: WebSocket, number: int) -> None:
    """Receive this number of broadcasts; skip other messages."""
    while number:
        number -= (await member.receive())[3] == "new_msg"


async def count(
    kind: type[Bytecodes] | type[Instructions],
    checkout: Path,
    directory: Path,
    share: float,
) -> dict[str, float]:
    """Return the counts for each kind of work, measured once."""
    counted = await count_app(kind, checkout, directory, share, APP, works)
    if (checkout / "scripts/bench/app.py").exists():
        counted |= await count_app(kind, checkout, directory, share, HISTORY_APP, history_works)
    return counted


async def count_app(
    kind: type[Bytecodes] | type[Instructions],
    checkout: Path,
    directory: Path,
    share: float,
    app: str,
    make_works: Callable[[int], Awaitable[Works]],
) -> dict[str, float]:
    """Return the counts for one application."""
    arguments = ["serve", app, "--port=0"]
    program = [str(kind.program), command_module(checkout)]
    with Process(arguments, directory / "serve.log", SETTINGS, checkout, program) as process:
        port = int(wait_for(lambda: listening(process), process).rpartition(":")[2])
        counter: Counter = kind(process)
        counted = {}
        counter.start()
        for name, (work, times) in (await make_works(port)).items():
            times = max(CROWD, round(times * share))
            await work(CROWD)
            before, started = counter.read(), time.monotonic()
            await work(times)
            worked, seconds = counter.read() - before, time.monotonic() - started
            before = counter.read()
            idle_seconds = max(IDLE_SECONDS * share, seconds)  # a short window's noise would be multiplied
            await asyncio.sleep(idle_seconds)
            idle = (counter.read() - before) * seconds / idle_seconds
            counted[name] = (worked - idle) / times
    return counted


def main() -> None:
    """Count, and print medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--compare", type=Path, help="another checkout, counted alternately with this one")
    parser.add_argument("--repeat", type=int, default=3, help="number of repetitions (3)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the usual messages, e.g. 0.1 for a trial"
    )
    parser.add_argument("--instructions", action="store_true", help="count machine instructions")
    options = parser.parse_args()
    if options.instructions and shutil.which("callgrind_control") is None:
        parser.error("--instructions needs valgrind; install it with your package manager")
    kind = Instructions if options.instructions else Bytecodes
    checkouts = [ROOT, *([options.compare.resolve()] if options.compare else [])]
    counts: dict[Path, list[dict[str, float]]] = {checkout: [] for checkout in checkouts}
    for _ in range(options.repeat):
        for checkout in checkouts:
            with tempfile.TemporaryDirectory() as directory:
                counts[checkout].append(asyncio.run(count(kind, checkout, Path(directory), options.share)))
    titles = ("this", "lowest", "highest", *(("other", "this / other") if options.compare else ()))
    print(f"{kind.__name__.lower() + ', medians':44}" + "".join(f"{title:>14}" for title in titles))
    for name in counts[ROOT][0]:
        ours = [each[name] for each in counts[ROOT]]
        cells = [f"{value:14,.0f}" for value in (statistics.median(ours), min(ours), max(ours))]
        if options.compare and name in counts[checkouts[1]][0]:
            other = statistics.median(each[name] for each in counts[checkouts[1]])
            cells += [f"{other:14,.0f}", f"{statistics.median(ours) / other:14.3f}"]
        print(f"{name:44}" + "".join(cells))


if __name__ == "__main__":
    main()
