"""Sends mutated messages to every port of a running mesh, and checks that bystanders notice nothing.

    python scripts/fuzz.py [--messages 2000000] [--seed 1] [--json FILE] [--logs DIRECTORY]

It starts a proxy, a worker and a gateway over TCP. By turns it sends malformed and unusual messages as a
client over WebSocket, long-poll or ZeroMQ, an operator, a node on the bus, a gateway on a link, and a peer
that speaks no protocol at all (scripts/harness/attacks.py). Meanwhile bystanders over WebSocket (JSON and
msgpack) and ZeroMQ push and receive broadcasts; each reply must arrive within seconds. At the end every
node must be alive, must not have grown without bound, must hold no connections except the bystanders', and
must not have logged an internal error.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import zmq

from harness.attacks import Attacks
from harness.bystander import Bystander
from harness.mutate import Mutator
from harness.nodes import Nodes, running
from mesh.client import Client

SETTLE_SECONDS = 120.0
MAX_GROWTH_KILOBYTES = 150_000
"""Nodes legitimately grow by the remembered sequence numbers and the buffers of messages to resend."""
PROGRESS_SECONDS = 10.0
TOPIC = "room:by"
SETTINGS = {"MESH_LONGPOLL__WINDOW_SECONDS": "2", "MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "5"}
REFUSED = (
    "frames_malformed",
    "connections_refused",
    "bus_messages_malformed",
    "link_messages_malformed",
    "broadcasts_unencodable",
    "channels_crashed",
)


class Fuzz:
    """One run."""

    def __init__(self, options: argparse.Namespace, nodes: Nodes) -> None:
        self._options = options
        self._nodes = nodes
        self._noticed: list[str] = []
        self._bystanders: list[Bystander] = []
        self._before: dict[str, int] = {}
        self._started_at = self._last_progress = time.monotonic()

    async def run(self) -> dict[str, Any]:
        """Send everything; return the result."""
        self._before = {name: self._nodes.kilobytes(name) for name in self._nodes.processes}
        async with contextlib.AsyncExitStack() as stack:
            for client in self._clients():
                await stack.enter_async_context(client)
                await self._add_bystander(client)
            self._started_at = time.monotonic()
            with zmq.Context() as context:
                attacks = Attacks(self._nodes, Mutator(self._options.seed), context)
                await self._attack(attacks)
                context.destroy(0)
            await self._settle()
            noticed = list(self._noticed)  # later entries are caused by our own disconnection
        return await self._result(attacks, noticed)

    def _clients(self) -> list[Client]:
        address = f"ws://127.0.0.1:{self._nodes.port}/socket"
        return [
            Client(address),
            Client(address, format="msgpack"),
            Client(f"tcp://127.0.0.1:{self._nodes.zeromq}"),
        ]

    async def _add_bystander(self, client: Client) -> None:
        name = f"{len(self._bystanders)} {client.address.partition(':')[0]}"
        client.on_close(lambda code, reason: self._noticed.append(f"{name} closed: {code} {reason}"))
        room = await client.join(TOPIC)
        room.on_state(lambda state, reason: self._noticed.append(f"{name} {state}: {reason}"))
        self._bystanders.append(Bystander(name, room))

    async def _attack(self, attacks: Attacks) -> None:
        """Send batches of all kinds; the bystanders push once during each."""
        total = 0
        while total < self._options.messages and not self._noticed:
            batch = asyncio.create_task(asyncio.to_thread(attacks.send_batch))
            await asyncio.gather(*(each.push_and_wait() for each in self._bystanders))
            total += await batch
            self._show(total)

    def _show(self, total: int) -> None:
        now = time.monotonic()
        if now - self._last_progress < PROGRESS_SECONDS:
            return
        self._last_progress = now
        for name in self._nodes.processes:
            if not self._nodes.processes[name].alive():
                raise SystemExit(f"{name} has ended after {total} messages; seed {self._options.seed}")
        rss = "  ".join(
            f"{name} {self._nodes.kilobytes(name) / 1024:.0f} MB" for name in self._nodes.processes
        )
        print(
            f"{total:9} messages, {total / (now - self._started_at):.0f} a second  {rss}"
            f"  worst answer {max(each.worst for each in self._bystanders) * 1000:.0f} ms",
            flush=True,
        )

    async def _settle(self) -> None:
        """Wait until only the bystanders are connected."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            metrics = await self._nodes.metrics("gateway")
            found = {name: metrics[f"open_{name}"] for name in ("connections", "channels")}
            if set(found.values()) == {len(self._bystanders)}:
                return
            if time.monotonic() > deadline:
                self._noticed.append(f"still open, besides {len(self._bystanders)} bystanders: {found}")
                return
            await asyncio.sleep(0.2)

    async def _result(self, attacks: Attacks, noticed: list[str]) -> dict[str, Any]:
        nodes, counts = {}, dict.fromkeys(("messages_in", *REFUSED), 0)
        for name in self._nodes.processes:
            growth = self._nodes.kilobytes(name) - self._before[name]
            nodes[name] = {
                "alive": self._nodes.processes[name].alive(),
                "grew_by_kilobytes": growth,
                "errors_of_its_own": self._nodes.internal_errors(name),
            }
            if (
                not nodes[name]["alive"]
                or growth > MAX_GROWTH_KILOBYTES
                or nodes[name]["errors_of_its_own"]
            ):
                noticed.append(f"{name}: {nodes[name]}")
        for name in self._nodes.admin:
            metrics = await self._nodes.metrics(name)
            for count in counts:
                counts[count] += int(metrics.get(f"{count}_total", 0))
        return {
            "seed": self._options.seed,
            "seconds": round(time.monotonic() - self._started_at, 1),
            "thrown": attacks.sent,
            "counted_by_the_nodes": counts,
            "nodes": nodes,
            "bystanders": {
                each.name: {"asked": each.pushes, "worst_ms": round(each.worst * 1000)}
                for each in self._bystanders
            },
            "noticed": noticed,
        }


def show(result: dict[str, Any]) -> None:
    """Print the result."""
    thrown = sum(result["thrown"].values())
    print(f"{thrown} messages in {result['seconds']:.0f} s, seed {result['seed']}")
    for name, count in sorted(result["thrown"].items()):
        print(f"{count:9}  {name}")
    print(
        "counted by the nodes: " + ", ".join(f"{n} {c}" for n, c in result["counted_by_the_nodes"].items())
    )
    for name, node in result["nodes"].items():
        print(
            f"{name:8} alive: {node['alive']}, grew by {node['grew_by_kilobytes']} kB,"
            f" errors of its own: {node['errors_of_its_own']}"
        )
    for name, each in result["bystanders"].items():
        print(
            f"bystander {name}: asked {each['asked']} times, answered after {each['worst_ms']} ms at most"
        )


def main() -> None:
    """Run it and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--messages", type=int, default=2_000_000, help="number of messages of all kinds together (2000000)"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the result to this file")
    parser.add_argument("--logs", type=Path, help="keep the nodes' logs in this directory")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    logging.disable(logging.WARNING)  # bystanders warn about broadcasts that are not JSON
    with (
        tempfile.TemporaryDirectory() as name,
        running(options.logs or Path(name), False, SETTINGS) as nodes,
    ):
        result = asyncio.run(Fuzz(options, nodes).run())
    show(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1))
    if result["noticed"]:
        sys.exit(f"noticed: {json.dumps(result['noticed'])}; seed {options.seed}")


if __name__ == "__main__":
    main()
