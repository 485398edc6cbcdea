"""Computes the constants of the model in docs/scaling.md from the measurements of growth.py."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.machine import machine
from bench.row import Report
from bench.servers import Server

KEYS = {"server_cpu_each": "cpu_s", "join_server_cpu_each": "join_cpu_s"}


def by_part(report: Report, server: Server) -> dict[str, float]:
    """Return the generator's CPU times by kind of process, such as cpu_s_gateway."""
    found = {}
    for key, name in KEYS.items():
        each = dict(zip(server.pids, report.get(key, ()), strict=False))
        if each:
            for part, pids in server.parts.items():
                found[f"{name}_{part}"] = sum(each[pid] for pid in pids)
    return found


def line(points: list[tuple[float, float]]) -> tuple[float, float]:
    """Return (intercept, slope) of the line that fits the points best.

    It minimizes the squared relative error, because the points span three orders of magnitude.
    """
    weights = [1 / max(y, 1e-9) ** 2 for _, y in points]
    total = sum(weights)
    x_mean = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    y_mean = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    spread = sum(w * (x - x_mean) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    if not spread:
        return y_mean, 0.0
    slope = sum(w * (x - x_mean) * (y - y_mean) for w, (x, y) in zip(weights, points, strict=True)) / spread
    return y_mean - slope * x_mean, slope


def fit(results: dict[str, list[Report]]) -> dict[str, float]:
    """Return the constants that follow from these parts; times in microseconds, sizes in bytes."""
    found: dict[str, float] = {}
    for part, rows in results.items():
        usable = [each for each in rows if each["ok"]]
        if usable and part in FITS:
            found.update(FITS[part](usable))
    return {name: round(max(0.0, value), 3) for name, value in found.items()}


def write(path: Path, fitted: dict[str, float]) -> None:
    """Update the file; constants of parts that were not measured are kept."""
    existing = json.loads(path.read_text())["constants"] if path.exists() else {}
    path.write_text(
        json.dumps({"measured": machine(), "constants": {**existing, **fitted}}, indent=1) + "\n"
    )


def _subscribers(rows: list[Report]) -> dict[str, float]:
    def cost(part: str) -> list[tuple[float, float]]:
        return [
            (row["subscribers"], 1e6 * row[f"cpu_s_{part}"] / (row["measured"] / row["subscribers"]))
            for row in rows
        ]

    copy, delivery = line(cost("gateway"))
    few = rows[0]
    return {
        "gateway_us_per_broadcast": copy,
        "gateway_us_per_delivery": delivery,
        "worker_us_per_broadcast": cost("worker")[0][1],  # of the row with the most broadcasts
        "bytes_per_delivery": few["bytes_in"] / few["received_total"],
    }


def _connections(rows: list[Report]) -> dict[str, float]:
    most = rows[-1]
    few = rows[0] if len(rows) > 1 else {"connections": 0, "server_cpu_s": 0.0, "window_s": 1.0}
    busier = most["server_cpu_s"] / most["window_s"] - few["server_cpu_s"] / few["window_s"]
    heartbeats = (most["connections"] - few["connections"]) / 30  # of one second
    return {
        "gateway_us_per_join": 1e6 * most["join_cpu_s_gateway"] / most["joined"],
        "worker_us_per_join": 1e6 * most["join_cpu_s_worker"] / most["joined"],
        "us_per_heartbeat": 1e6 * busier / heartbeats,
        "bytes_per_connection": most["rss_per_conn"],
    }


def _proxy(rows: list[Report]) -> dict[str, float]:
    """Return the cost of a copy at a low rate, and the further cost of a broadcast when the proxy is busy.

    A proxy that wakes up for each message spends ten times as much on it as a busy one, which handles many
    at a time. Where the proxy is the bottleneck, it is busy.
    """
    busy = max(rows, key=lambda row: row["rate"])
    slow = [row for row in rows if row is not busy]
    _, copy = line([(row["gateways"], row["proxy_us_per_msg"]) for row in slow])
    return {"proxy_us_per_broadcast": busy["proxy_us_per_msg"] - copy, "proxy_us_per_copy": copy}


def _bus(rows: list[Report]) -> dict[str, float]:
    return {"copies_per_gateway": max(row["copies_per_gateway"] for row in rows)}


FITS: dict[str, Callable[[list[Report]], dict[str, Any]]] = {
    "subscribers": _subscribers,
    "connections": _connections,
    "proxy": _proxy,
    "bus": _bus,
}
