"""Plots the results of bench.py and growth.py."""

from pathlib import Path
from typing import Any

from bench.report import median_of, runs_of
from bench.row import Report, Row
from bench.servers import Target
from harness import picture

AXES = {
    "subscribers": ("subscribers", "server_us_per_msg", "CPU per delivery (us)"),
    "topics": ("topics", "server_us_per_msg", "CPU per broadcast (us)"),
    "connections": ("connections", "join_cpu_ms", "CPU per connect and join (ms)"),
    "bus": ("gateways", "copies_per_gateway", "copies of a broadcast per gateway"),
    "proxy": ("gateways", "proxy_us_per_msg", "CPU of the proxy per broadcast (us)"),
}


def rows(rows: list[Row], targets: list[Target], results: list[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each row's first figure: a bar for each server, lines for Phoenix and our goals."""
    pyplot = picture.pyplot()
    figure, panels = pyplot.subplots(len(rows), 1, figsize=(9, 2.2 * len(rows)), squeeze=False)
    for row, panel in zip(rows, panels[:, 0], strict=True):
        first = row.figures[0]
        bars = [(each.label, median_of(runs_of(results, row, each), first.key)) for each in targets]
        shown = [(label, value) for label, value in bars if value is not None]
        panel.barh([label for label, _ in shown], [value for _, value in shown])
        for value, colour in ((first.reach, "orange"), (first.aim, "green")):
            if value is not None:
                panel.axvline(value, color=colour)
        if first.phoenix:
            panel.axvline(first.phoenix[""], color="purple", linestyle="--")
        better = "less" if first.lower else "more"
        panel.set_title(f"{row.name}: {first.key} ({better} is better)", fontsize=9)
    figure.tight_layout()
    figure.savefig(path)


def growth(results: dict[str, list[Report]], path: Path) -> None:
    """Draw one panel for each part, with axes from zero, so that constant costs look constant."""
    pyplot = picture.pyplot()
    figure, panels = pyplot.subplots(1, len(results), figsize=(4.5 * len(results), 3.5), squeeze=False)
    for (part, reports), panel in zip(results.items(), panels[0], strict=True):
        x, y, label = AXES[part]
        points = [(each[x], each[y]) for each in reports if each.get(y) is not None]
        panel.plot([point[0] for point in points], [point[1] for point in points], marker="o")
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
        panel.set_xlabel(x)
        panel.set_title(label, fontsize=9)
    figure.tight_layout()
    figure.savefig(path)
