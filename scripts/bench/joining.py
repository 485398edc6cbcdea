"""Measures how long callbacks block the event loop while thousands join and others receive broadcasts."""

import re
import time
import urllib.request
from collections.abc import Callable

from bench import generator
from bench.row import Report, Run

SETTINGS = {"MESH_ADMIN__PORT": "0", "MESH_ADMIN__HOST": "127.0.0.1"}
TURNS = re.compile(r'^mesh_loop_(?:turn|late)_seconds_bucket\{le="([^"]+)"\} (\S+)', re.MULTILINE)
STALL = re.compile(r"^mesh_loop_stall_seconds (\S+)", re.MULTILINE)
STALL_CPU = re.compile(r"^mesh_loop_stall_cpu_seconds (\S+)", re.MULTILINE)
STALLS = re.compile(r"^mesh_loop_stalls_total (\S+)", re.MULTILINE)
WARM_SECONDS = 2.0


def under_load(members: int, per_second: int, joins: int) -> Callable[[Run], Report]:
    """Return a row: `members` of one topic get `per_second` broadcasts while `joins` others join."""

    def work(run: Run) -> Report:
        fanout = (
            f"fanout -n {run.capped(members)} --topics 1 --pubs 1 --rate {per_second} --size 100 --hb 0"
        )
        warm = min(WARM_SECONDS, run.seconds)
        seconds = ["-s", str(run.seconds + 2 * warm), "--warmup", str(warm), "--topic-offset", "1000000"]
        flow = generator.start(run.wsload, run.server, [*fanout.split(), *seconds])
        time.sleep(1.5 * warm)
        before = scrape(run)
        storm = f"joinstorm -n {run.capped(joins)} --src 4 --per-topic 10 --conc 256".split()
        joined = generator.run(run.wsload, run.server, storm)
        after = scrape(run)
        flowed = generator.finished(flow)
        return {
            **flowed,
            "ok": flowed["ok"] and joined["ok"],
            "joins_per_s": joined.get("joins_per_s"),
            "join_cpu_ms": None,  # includes the cost of the deliveries
            **stalls(before, after),
        }

    return work


def scrape(run: Run) -> list[str]:
    """Return /metrics of every node, which also resets the longest stall."""
    return [_get(f"{url}/metrics") for url in run.server.admin_urls()]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def stalls(before: list[str], after: list[str]) -> Report:
    """Return the longest stall of any node, its CPU time, stalls over 20 ms, and the 99.9th percentile."""
    worst = [float(match[1]) for text in after if (match := STALL.search(text))]
    if not worst:
        return {}  # a version without this metric
    over = sum(_number(STALLS, new) - _number(STALLS, old) for old, new in zip(before, after, strict=True))
    return {
        "stall_ms": 1000 * max(worst),
        "stall_cpu_ms": 1000 * max(_number(STALL_CPU, text) for text in after),
        "stalls_over_20_ms": over,
        "stall_ms_p999": 1000 * max(map(_p999, before, after)),
    }


def _number(pattern: re.Pattern[str], text: str) -> float:
    match = pattern.search(text)
    return float(match[1]) if match else 0.0


def _p999(before: str, after: str) -> float:
    """Return the upper bound in seconds of the bucket with the 99.9th percentile of these turns."""
    old, new = dict(TURNS.findall(before)), dict(TURNS.findall(after))
    grown = {bound: float(value) - float(old.get(bound, 0)) for bound, value in new.items()}
    total = grown.get("+Inf", 0.0)
    return next((float(bound) for bound, number in grown.items() if number >= 0.999 * total), 0.0)
