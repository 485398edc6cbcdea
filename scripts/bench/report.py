"""Prints results: medians, ratios, and whether the goals are reached."""

from collections.abc import Iterable
from statistics import median
from typing import Any

from bench.row import Figure, Row
from bench.servers import Target

DISTURBED_SECONDS = 1.0
"""CPU time of other processes within one window, above which the run is marked."""

Result = dict[str, Any]


def disturbed(result: Result) -> bool:
    """Return whether other processes used the machine during the run."""
    others = (result.get(key) or 0 for key in ("other_cpu_s", "join_other_cpu_s"))
    return any(each > DISTURBED_SECONDS for each in others)


def median_of(results: Iterable[Result], key: str) -> float | None:
    """Return the median of a figure over the runs that have it."""
    values = [result[key] for result in results if isinstance(result.get(key), (int, float))]
    return median(values) if values else None


def run_line(target: Target, row: Row, result: Result) -> str:
    """Return the line for one run."""
    marks = " DISTURBED" if disturbed(result) else ""
    state = "ok" if result["ok"] else f"NOT OK {result.get('error', '')}"
    return f"  {target.label:<34} {row.name:<34} {_figures(row, [result])}  {state}{marks}"


def _figures(row: Row, results: list[Result]) -> str:
    shown = []
    for figure in row.figures:
        value = median_of(results, figure.key)
        shown.append(figure.text.format(value) if value is not None else f"({figure.key} missing)")
    return "  ".join(shown)


def verdict(figure: Figure, kind: str, value: float) -> str:
    """Compare a figure with Phoenix's and with our goals."""
    parts = []
    if figure.phoenix:
        phoenix = figure.phoenix.get(kind, figure.phoenix[""])
        parts.append(f"{value / phoenix:.2f} of Phoenix's {phoenix:g}")
    if figure.reach is not None and figure.aim is not None:
        reached = [
            f"{word} {bound:g}"
            for word, bound in (("aim", figure.aim), ("reach", figure.reach))
            if (value <= bound if figure.lower else value >= bound)
        ]
        parts.append(f"{reached[0]}: yes" if reached else f"reach {figure.reach:g}: NO")
    return ", ".join(parts)


def summary(rows: list[Row], targets: list[Target], results: list[Result]) -> list[str]:
    """Return the medians of all runs with verdicts, and the ratios between versions."""
    lines = []
    for row in rows:
        for target in targets:
            runs = runs_of(results, row, target)
            if not runs:
                continue
            marked = sum(map(disturbed, runs))
            note = f"  ({marked} of {len(runs)} runs disturbed)" if marked else ""
            lines.append(f"{target.label:<34} {row.name:<34} {_figures(row, runs)}{note}")
            for figure in row.figures:
                value = median_of(runs, figure.key)
                words = verdict(figure, target.kind, value) if value is not None else ""
                if words:
                    lines.append(f"{'':<69}   {figure.key}: {words}")
    return lines


def ratios(rows: list[Row], targets: list[Target], results: list[Result]) -> list[str]:
    """Divide each figure of the first version by those of the others, for the same kind of server."""
    ours = [target for target in targets if target.version == targets[0].version]
    lines = []
    for row in rows:
        for target in ours:
            for other in targets:
                if other.kind == target.kind and other.version != target.version:
                    lines += _ratio_lines(row, target, other, results)
    return lines


def _ratio_lines(row: Row, target: Target, other: Target, results: list[Result]) -> list[str]:
    lines = []
    for figure in row.figures:
        mine, theirs = (median_of(runs_of(results, row, each), figure.key) for each in (target, other))
        if mine is not None and theirs:
            better = "less is better" if figure.lower else "more is better"
            lines.append(
                f"{target.label:<28} / {other.version:<14} {row.name:<34} {figure.key:<22}"
                f" {mine:12,.3f} / {theirs:12,.3f} = {mine / theirs:5.2f}  ({better})"
            )
    return lines


def runs_of(results: list[Result], row: Row, target: Target) -> list[Result]:
    """Return the runs of a row on a server."""
    return [each for each in results if each["row"] == row.name and each["server"] == target.label]
