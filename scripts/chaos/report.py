"""The results of a run as tables and as a dict: by source, and by the fault at the time of publishing."""

import bisect
from typing import Any

from chaos.history import SOURCES, Fault, History
from chaos.judging import OUTCOMES, Verdict
from chaos.recovery_judging import Recovery

NO_FAULT = "(no fault)"
RECOVERY_OUTCOMES = ("lost", "doubled", "misordered", "told", "uncaused")
TRANSIT_SECONDS = 0.1
"""Messages published this shortly before a fault may have been in transit."""


class Windows:
    """Finds the fault that was active at a given time."""

    def __init__(self, faults: list[Fault]) -> None:
        self._faults = faults
        self._starts = [fault.at - TRANSIT_SECONDS for fault in faults]

    def name(self, at: float) -> str:
        """Return the fault's name, or NO_FAULT."""
        index = bisect.bisect_right(self._starts, at) - 1
        return self._faults[index].name if index >= 0 and at <= self._faults[index].ended else NO_FAULT


def report(history: History, verdicts: list[Verdict]) -> dict[str, Any]:
    """Print the tables; return the same as a dict."""
    publishers = by_source(history, verdicts)
    print(f"\n{'publisher':12}{'sent':>9}{'delivered':>11}{'lost':>7}{'doubled':>9}{'misordered':>12}")
    for source, row in publishers.items():
        print(
            f"{source:12}{row['sent']:9}{row['delivered']:11}{row['lost']:7}{row['doubled']:9}"
            f"{row['misordered']:12}"
        )
    _print_where(history, verdicts)
    print(f"pushes without a reply: {history.unacknowledged}")
    faults = by_fault(history, verdicts)
    print(
        f"\n{'fault':18}{'times':>6}{'sent':>8}{'delivered':>11}{'lost':>6}{'doubled':>9}{'misordered':>12}"
        f"{'worst gap (ms)':>16}"
    )
    for name, each in faults.items():
        print(
            f"{name:18}{each['times']:6.0f}{each['sent']:8.0f}{each['delivered']:11.0f}{each['lost']:6.0f}"
            f"{each['doubled']:9.0f}{each['misordered']:12.0f}{each['worst_gap_ms']:16.0f}"
        )
    return {
        "publishers": publishers,
        "unacknowledged": history.unacknowledged,
        "worst_gap_ms": {name: each["worst_gap_ms"] for name, each in faults.items() if name != NO_FAULT},
        "faults": faults,
    }


def _print_where(history: History, verdicts: list[Verdict]) -> None:
    for each in verdicts:
        for what, at in (("lost", each.published["lost"]), ("misordered", each.misordered_at)):
            if at:
                where = f"{min(at) - history.started:.3f} to {max(at) - history.started:.3f} s"
                print(f"  {each.reader}, {each.topic}, {each.source}: {len(at)} {what}, {where}")


def by_source(history: History, verdicts: list[Verdict]) -> dict[str, dict[str, int]]:
    """Return how many messages each source sent, and their outcomes."""
    rows = {}
    for source in SOURCES:
        of_source = [each for each in verdicts if each.source == source]
        sent = sum(len(messages) for (name, _), messages in history.sent.items() if name == source)
        rows[source] = {
            "sent": sent,
            **{outcome: sum(each.count(outcome) for each in of_source) for outcome in OUTCOMES},
        }
    return rows


def by_fault(history: History, verdicts: list[Verdict]) -> dict[str, dict[str, float]]:
    """Return the messages, outcomes and longest delay for each kind of fault, and for the time without."""
    names = [*dict.fromkeys(fault.name for fault in history.faults), NO_FAULT]
    rows: dict[str, dict[str, float]] = {
        name: {"times": 0, "sent": 0, **dict.fromkeys(OUTCOMES, 0), "worst_gap_ms": 0.0} for name in names
    }
    windows = Windows(history.faults)
    for fault in history.faults:
        rows[fault.name]["times"] += 1
    for sent in history.sent.values():
        for message in sent:
            rows[windows.name(message.published)]["sent"] += 1
    for verdict in verdicts:
        for outcome, times in verdict.published.items():
            for published in times:
                rows[windows.name(published)][outcome] += 1
        for published, delay in verdict.delays:
            row = rows[windows.name(published)]
            row["worst_gap_ms"] = max(row["worst_gap_ms"], delay * 1000)
    return rows


def report_recoveries(history: History, recoveries: list[Recovery]) -> dict[str, Any]:
    """Print what the recovering clients received; return the same as a dict."""
    result = {
        "sent": sum(map(len, history.kept.values())),
        "disturbances": dict(history.disturbances),
        "delivered": sum(each.delivered for each in recoveries),
        **{name: sum(len(getattr(each, name)) for each in recoveries) for name in RECOVERY_OUTCOMES},
    }
    disturbances = ", ".join(f"{name} {count}" for name, count in history.disturbances.items())
    print(f"\nclients that recover: {disturbances}")
    print(
        f"{'sent':>9}{'delivered':>11}{'lost':>7}{'doubled':>9}{'misordered':>12}{'told':>7}{'uncaused':>10}"
    )
    print(
        f"{result['sent']:9}{result['delivered']:11}{result['lost']:7}{result['doubled']:9}"
        f"{result['misordered']:12}{result['told']:7}{result['uncaused']:10}"
    )
    for each in recoveries:
        if each.wrong:
            wrong = {name: getattr(each, name)[:5] for name in ("lost", "doubled", "misordered")}
            uncaused = [f"{at - history.started:.3f} s" for at in each.uncaused]
            print(f"  {each.client}, {each.topic}: {wrong}, told without a cause: {uncaused}")
    return result
