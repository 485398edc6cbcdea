"""CPU, memory and network of a mesh, from constants that growth.py measured on one core. Pure arithmetic.

A machine here has 16 cores, of which 12 run a gateway each and the others workers and a proxy. Everything
is linear, because the measured costs per item are constant, with one exception: a broadcast is sent once to
each gateway that has a member of its topic, so for topics with many members each gateway adds a cost.
"""

import json
from pathlib import Path
from typing import NamedTuple

MEASURED = Path(__file__).with_name("constants.json")
CORES = 16
GATEWAYS_PER_MACHINE = 12
MAX_CORE_SHARE = 0.7
"""The share of a core to plan with; above it, queues begin to grow."""
HEARTBEAT_SECONDS = 30
PLANS = (4, 8, 16)

Constants = dict[str, float]


class Load(NamedTuple):
    """The load of a mesh.

    Attributes:
        broadcasts: broadcasts per second, to all topics together.
        members: the members of each broadcast's topic.
        joins: connects and joins per second.
    """

    name: str
    connections: int
    broadcasts: float
    members: int
    joins: float


class Prediction(NamedTuple):
    """The resources that a load needs.

    Attributes:
        gateway: the share of a core that each gateway uses.
        workers: the cores that all workers use together.
        proxy: the share of a core that each proxy uses.
        proxies_wanted: the number of proxies for which none is above MAX_CORE_SHARE.
        memory_gb: the memory of each machine for its connections.
        network_mbit: the traffic of each machine to its clients.
        limit: the resource that exceeds MAX_CORE_SHARE first, or "".
    """

    load: Load
    machines: int
    proxies: int
    gateway: float
    workers: float
    proxy: float
    proxies_wanted: int
    memory_gb: float
    network_mbit: float
    limit: str


LOADS = (
    Load("notifications: each to 5 connections", 1_000_000, 20_000, 5, 1_000),
    Load("rooms of 100", 1_000_000, 5_000, 100, 1_000),
    Load("a match: 100,000 in a topic", 1_000_000, 20, 100_000, 1_000),
    Load("many small rooms, busy", 1_000_000, 200_000, 5, 1_000),
)


def read(path: Path) -> Constants:
    """Load the constants from a file written by growth.py --json."""
    constants: Constants = json.loads(path.read_text())["constants"]
    return constants


def copies(members: int, gateways: int) -> float:
    """Return how many gateways on average have at least one of `members`, which are spread at random."""
    return float(gateways * (1 - (1 - 1 / gateways) ** members))


def predict(load: Load, constants: Constants, machines: int, proxies: int) -> Prediction:
    """Predict the resources of each machine."""
    gateways = machines * GATEWAYS_PER_MACHINE
    copied = load.broadcasts * copies(load.members, gateways)
    deliveries = load.broadcasts * load.members
    heartbeats = load.connections / HEARTBEAT_SECONDS
    gateway_us = (
        copied * constants["gateway_us_per_broadcast"]
        + deliveries * constants["gateway_us_per_delivery"]
        + heartbeats * constants["us_per_heartbeat"]
        + load.joins * constants["gateway_us_per_join"]
    )
    worker_us = (
        load.broadcasts * constants["worker_us_per_broadcast"]
        + load.joins * constants["worker_us_per_join"]
    )
    proxy_us = (
        load.broadcasts * constants["proxy_us_per_broadcast"] + copied * constants["proxy_us_per_copy"]
    )
    prediction = Prediction(
        load,
        machines,
        proxies,
        gateway=gateway_us / gateways / 1e6,
        workers=worker_us / 1e6,
        proxy=proxy_us / proxies / 1e6,
        proxies_wanted=max(2, -int(-proxy_us // (MAX_CORE_SHARE * 1e6))),
        memory_gb=load.connections * constants["bytes_per_connection"] / machines / 1e9,
        network_mbit=8 * deliveries * constants["bytes_per_delivery"] / machines / 1e6,
        limit="",
    )
    return prediction._replace(limit=limit(prediction))


def limit(prediction: Prediction) -> str:
    """Return the resource that exceeds MAX_CORE_SHARE first."""
    spare = (CORES - GATEWAYS_PER_MACHINE) * prediction.machines - prediction.proxies
    shares = {
        "gateways": prediction.gateway,
        "workers": prediction.workers / spare,
        "proxy": prediction.proxy,
    }
    worst = max(shares, key=lambda each: shares[each])
    return worst if shares[worst] > MAX_CORE_SHARE else ""


def proxy_limit(constants: Constants, members: int, machines: int) -> float:
    """Return the broadcasts per second at which one proxy reaches MAX_CORE_SHARE."""
    each = copies(members, machines * GATEWAYS_PER_MACHINE)
    cost = constants["proxy_us_per_broadcast"] + each * constants["proxy_us_per_copy"]
    return MAX_CORE_SHARE * 1e6 / cost


def table(predictions: list[Prediction]) -> str:
    """Return the predictions as a Markdown table."""
    lines = [
        "| load | machines | each gateway | all workers | each of 2 proxies | proxies wanted"
        " | memory per machine | to clients per machine | full first |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in predictions:
        lines.append(
            f"| {each.load.name} | {each.machines} | {each.gateway:.0%} of a core"
            f" | {each.workers:.1f} cores | {each.proxy:.0%} of a core"
            f" | {each.proxies_wanted} | {each.memory_gb:.1f} GB"
            f" | {each.network_mbit:,.0f} Mbit/s | {each.limit or 'nothing'} |"
        )
    return "\n".join(lines)


def proxy_table(constants: Constants) -> str:
    """Return a Markdown table of the rates at which one proxy reaches MAX_CORE_SHARE."""
    lines = [
        "| members of a topic | gateways that have one, of 96 | broadcasts a second that fill a proxy |",
        "| --- | --- | --- |",
    ]
    for members in (1, 5, 100, 100_000):
        found = proxy_limit(constants, members, 8)
        lines.append(f"| {members:,} | {copies(members, 96):.1f} | {found:,.0f} |")
    return "\n".join(lines)


def tables(constants: Constants) -> str:
    """Return all tables of docs/scaling.md."""
    predictions = [predict(load, constants, machines, 2) for load in LOADS for machines in PLANS]
    named = "\n".join(f"| `{name}` | {value:g} |" for name, value in constants.items())
    parts = ("| constant | measured |\n| --- | --- |\n" + named, table(predictions), proxy_table(constants))
    return "\n\n".join(parts)
