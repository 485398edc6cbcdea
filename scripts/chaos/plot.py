"""Plots a run."""

from pathlib import Path
from typing import Any

from chaos.history import SOURCES, History
from chaos.judging import Verdict
from harness import picture

COLORS = {"bus": "tab:blue", "pushes": "black"}


def plot(path: Path, history: History, verdicts: list[Verdict], result: dict[str, Any]) -> None:
    """Draw the longest gap for each kind of fault, and below it the delay of every delivery over time."""
    pyplot = picture.pyplot()
    names = list(result["faults"])
    colors = dict(zip(names, pyplot.get_cmap("tab20").colors, strict=False))
    figure, (bars, times) = pyplot.subplots(
        2, 1, figsize=(13, 9), height_ratios=(1, 1.4), layout="constrained"
    )
    worst = [result["faults"][name]["worst_gap_ms"] for name in names]
    drawn = bars.barh(names, worst, color=[colors[name] for name in names])
    bars.bar_label(drawn, labels=[f"{each:.0f} ms" for each in worst], padding=4)
    bars.invert_yaxis()
    bars.set(xscale="log", xlim=(1, max(10.0, 3 * max(worst))), xlabel="worst gap, ms")
    started = history.started
    for source in SOURCES:
        points = [each for verdict in verdicts if verdict.source == source for each in verdict.delays]
        at = [published - started for published, _ in points]
        times.scatter(at, [delay * 1000 for _, delay in points], s=2, color=COLORS[source], label=source)
    for fault in history.faults:
        times.axvspan(
            fault.at - started, fault.ended - started, alpha=0.3, color=colors[fault.name], lw=0, zorder=0
        )
    times.set(yscale="log", xlabel="seconds; the colours are the faults above", ylabel="delay, ms")
    times.legend(loc="upper right", title="published by", markerscale=4)
    figure.savefig(path, dpi=110)
