"""A row: a kind of work, the figures that matter, and the goals for them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from bench.servers import APP, Server

Report = dict[str, Any]


class Figure(NamedTuple):
    """One number of a row's report.

    Attributes:
        key: its name in the report.
        text: the format in which it is printed.
        lower: whether lower is better.
        phoenix: Phoenix 1.7.24 on the machine of docs/performance.md, by kind of server or for all.
        reach: the value that must be reached.
        aim: the value that we aim for.
    """

    key: str
    text: str
    lower: bool = False
    phoenix: Mapping[str, float] | None = None
    reach: float | None = None
    aim: float | None = None


class Run(NamedTuple):
    """The parameters of a run."""

    server: Server
    wsload: Path
    directory: Path
    seconds: float
    most: int = 1_000_000

    def capped(self, number: int) -> int:
        """Limit a number of connections, topics or messages per second to `most`, for small trials."""
        return min(number, self.most)


class Row(NamedTuple):
    """One kind of work.

    Attributes:
        name: its name, which --rows searches.
        run: runs it, and returns a report with "ok" and the figures.
        figures: the main figure, then the secondary ones.
        settings: the server's settings, or a function that makes them in a directory.
        kinds: the kinds of servers it applies to; all if empty.
        bare: whether a bare loop of sends (bare.py) can do it, for comparison.
        app: the application that the server runs.
    """

    name: str
    run: Callable[[Run], Report]
    figures: tuple[Figure, ...]
    settings: Mapping[str, str] | Callable[[Path], Mapping[str, str]] = MappingProxyType({})
    kinds: tuple[str, ...] = ()
    bare: bool = False
    app: str = APP

    def suits(self, kind: str) -> bool:
        """Return whether it can be run against this kind of server."""
        if kind == "bare":
            return self.bare
        return (
            not self.kinds or kind in self.kinds or (kind.startswith("cluster") and "cluster" in self.kinds)
        )


def throughput(
    phoenix: float | Mapping[str, float] | None = None, reach: float | None = None, aim: float | None = None
) -> Figure:
    """Make the figure for messages per CPU-second of the server."""
    return Figure(
        "msgs_per_server_cpu_s", "{:>9,.0f} per CPU-second", phoenix=_by_kind(phoenix), reach=reach, aim=aim
    )


def _by_kind(value: float | Mapping[str, float] | None) -> Mapping[str, float] | None:
    return value if value is None or isinstance(value, Mapping) else {"": value}


COST = Figure("server_us_per_msg", "{:6.2f} us each", lower=True)
P99 = Figure("lat_ms_p99", "p99 {:.1f} ms", lower=True)
JOIN_CPU = Figure("join_cpu_ms", "{:.3f} ms CPU per connect and join", True, {"": 0.31}, 0.31, 0.20)
JOINS = Figure("joins_per_s", "{:>7,.0f} joins/s")
MEMORY = Figure("kb_per_conn", "{:6.2f} kB per connection", True, {"": 32.0}, 16.0, 10.0)
