"""Runs hostile inputs against a running mesh, one after the other, and prints what each of them cost.

    python scripts/hostile.py [--only joins] [--scale 1] [--json FILE] [--logs DIRECTORY]

It starts a proxy, a worker and a gateway over TCP, and a bystander, which continuously pushes and receives
its own broadcasts. For each input it prints what the attacker observed, the CPU time and the peak memory
that the input cost each node, and the longest time that the bystander waited. Then it starts clusters whose
output cannot be written (a full disk, a pipe whose reader is gone, a pipe that nobody reads), and kills a
worker of each.

The exit code is 1 if a node ended, grew by more than MAX_GROWTH_KILOBYTES, used more than MAX_CPU_SECONDS
or logged an internal error, or if an attacker observed something that must not happen.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.bystander import Bystander
from harness.nodes import Nodes
from harness.processes import wait_for
from hostile.inputs import INPUTS, Input, foreign_worker
from hostile.outputs import OUTPUTS, killed_worker
from hostile.watch import measured
from mesh.client import Client

APP = "scripts.hostile.app:endpoint"
SETTINGS = {"MESH_LOG__LEVEL": "warning"}
MAX_GROWTH_KILOBYTES = 60_000
MAX_CPU_SECONDS = 60.0
"""High enough for a busy machine: linear work stays far below it, quadratic work does not."""
ANSWER_SECONDS = 120.0
"""The bystander's time-out: long, because an input that makes it wait must be measured."""


@contextlib.contextmanager
def running_mesh(directory: Path) -> Iterator[Nodes]:
    """Run nodes that are ready; a gateway is ready only if there is a worker for each route."""
    directory.mkdir(exist_ok=True)
    nodes = Nodes(directory, False, SETTINGS, APP)
    with contextlib.ExitStack() as stack:
        for each in nodes.processes.values():
            stack.enter_context(each)
        with foreign_worker(nodes):
            wait_for(nodes.ready, *nodes.processes.values())
        yield nodes


async def attack(nodes: Nodes, names: list[str], scale: float) -> list[dict[str, Any]]:
    """Run every input with a bystander; return what each of them cost."""
    results = []
    for name in names:
        async with Client(f"ws://127.0.0.1:{nodes.port}/socket") as client:
            room = await client.join("room:by")
            bystander = Bystander("bystander", room, ANSWER_SECONDS)
            results.append(await measure(nodes, name, INPUTS[name], bystander, scale))
        show(results[-1])
    return results


async def measure(
    nodes: Nodes, name: str, hostile: Input, bystander: Bystander, scale: float
) -> dict[str, Any]:
    """Run one input and measure its cost."""
    pids = {kind: process.pid for kind, process in nodes.processes.items()}
    async with measured(pids, bystander) as cost:
        seen = await hostile(nodes, scale)
    wrong = list(seen.wrong)
    wrong += [f"{kind} has ended" for kind in cost.dead]
    wrong += [
        f"{kind} grew by {kB} kB" for kind, kB in cost.grown_kilobytes.items() if kB > MAX_GROWTH_KILOBYTES
    ]
    wrong += [
        f"{kind} used {cpu} s of CPU" for kind, cpu in cost.cpu_seconds.items() if cpu > MAX_CPU_SECONDS
    ]
    wrong += [f"{kind} logged an internal error" for kind in pids if nodes.internal_errors(kind)]
    return {"input": name, "seen": seen.summary, **dataclasses.asdict(cost), "wrong": wrong}


def unwritable_outputs(names: list[str], directory: Path) -> list[dict[str, Any]]:
    """Run a cluster with each output that cannot be written."""
    results = []
    for number, name in enumerate(names):
        seen = killed_worker(name, directory / f"cluster-{number}")
        results.append({"input": f"output: {name}", "seen": seen.summary, "wrong": seen.wrong})
        show(results[-1])
    return results


def show(result: dict[str, Any]) -> None:
    """Print what one input cost."""
    print(f"{result['input']}: {result['seen']}")
    for kind, seconds in result.get("cpu_seconds", {}).items():
        print(f"    {kind:8} {seconds:6.2f} s of CPU, peak memory +{result['grown_kilobytes'][kind]} kB")
    if "worst_ms" in result:
        print(f"    bystander waited {result['worst_ms']:.0f} ms at most ({result['asked']} pushes)")
    for wrong in result["wrong"]:
        print(f"    WRONG: {wrong}")
    sys.stdout.flush()


def main() -> None:
    """Run all inputs and outputs, or those selected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    all_names = [*INPUTS, *OUTPUTS]
    parser.add_argument("--only", action="append", choices=all_names, default=[], help="repeatable")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="factor for counts and sizes, for a short trial (1.0)"
    )
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    options = parser.parse_args()
    names = options.only or all_names
    with tempfile.TemporaryDirectory() as temporary:
        directory = options.logs or Path(temporary)
        results = []
        if inputs := [name for name in names if name in INPUTS]:
            with running_mesh(directory) as nodes:
                results += asyncio.run(attack(nodes, inputs, options.scale))
        results += unwritable_outputs([name for name in names if name in OUTPUTS], directory)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1))
    if wrong := [f"{result['input']}: {each}" for result in results for each in result["wrong"]]:
        sys.exit("wrong:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
