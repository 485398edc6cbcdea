"""The servers to measure: started from a checkout of this project, or already running elsewhere."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from harness.processes import ROOT, Cluster, Process, wait_for

APP = "examples.conformance:endpoint"
HISTORY_APP = "scripts.bench.app:endpoint"
SETTLE_SECONDS = 2.0
"""The time in which nodes find each other; it must not be part of a measured window."""

Settings = Mapping[str, str]


class Server(NamedTuple):
    """A running server.

    Attributes:
        hosts: host:port of every gateway.
        parts: the pids of its processes by role: "gateway", "worker", "proxy", or "server" for a single
            process; a supervisor, which only waits, is left out.
        proxies: the addresses of the proxies, if they are separate processes.
        log: the file with everything that its processes print.
    """

    hosts: list[str]
    parts: dict[str, list[int]]
    proxies: list[str]
    log: Path

    @property
    def pids(self) -> list[int]:
        """Return the pids of all its processes, in order."""
        return [pid for pids in self.parts.values() for pid in pids]

    def admin_urls(self) -> list[str]:
        """Return the URL of every node's port for operators."""
        return re.findall(r"admin\s+(http://\S+:\d+)", self.log.read_text())

    def zeromq_addresses(self) -> list[str]:
        """Return each gateway's address for ZeroMQ clients, once every gateway has printed it."""

        def printed() -> list[str] | None:
            found = re.findall(r"zeromq\s+(\S+://\S+)", self.log.read_text())
            return found if len(found) >= len(self.hosts) else None

        return wait_for(printed) or []


class Target(NamedTuple):
    """A server to measure, which need not be running yet.

    Attributes:
        label: its name in tables.
        kind: "bare", "embedded", "cluster1", ..., or "url".
        version: the checkout it comes from; "" if there is only one.
        open: runs it, given a directory, settings as environment variables, and the application.
    """

    label: str
    kind: str
    version: str
    open: Callable[[Path, Settings, str], contextlib.AbstractContextManager[Server]]


LABELS = {"bare": "bare loop of sends", "embedded": "embedded"}


def label_of(kind: str) -> str:
    """Return the readable name of a kind of server."""
    if kind in LABELS:
        return LABELS[kind]
    gateways, workers = nodes_of(kind)
    return f"{gateways} gw + {workers} worker{'s' if workers > 1 else ''} + proxy"


def nodes_of(kind: str) -> tuple[int, int]:
    """Return the numbers of gateways and workers of `cluster2` and `cluster1x2`: gateways, and workers.

    Raises:
        ValueError: for any other name.
    """
    match = re.fullmatch(r"cluster([1-9]\d?)(?:x([1-9]\d?))?", kind)
    if match is None:
        raise ValueError(f"there is no server {kind!r}; want bare, embedded or cluster1 to cluster99")
    return int(match[1]), int(match[2] or 1)


def local(kind: str, checkout: Path = ROOT, version: str = "") -> Target:
    """Return a server of a checkout: bare, embedded, or a cluster. Raises ValueError for another kind."""
    label = label_of(kind)

    def start(directory: Path, settings: Settings, app: str) -> contextlib.AbstractContextManager[Server]:
        if kind == "bare":
            return _bare(directory)
        if kind == "embedded":
            return _embedded(checkout, directory, settings, app)
        return _cluster(checkout, directory, settings, app, *nodes_of(kind))

    return Target(f"{label} ({version})" if version else label, kind, version, start)


def peer(urls: list[str], pids: list[int]) -> Target:
    """Return a server that is already running, at one or several URLs."""
    hosts = [host_of(url) for url in urls]

    @contextlib.contextmanager
    def start(directory: Path, settings: Settings, app: str) -> Iterator[Server]:
        (directory / "peer.log").touch()
        yield Server(hosts, {"server": pids}, [], directory / "peer.log")

    return Target(",".join(hosts), "url", "", start)


def host_of(url: str) -> str:
    """Return 127.0.0.1:4000 for http://127.0.0.1:4000/. Raises ValueError for anything else."""
    parts = urlsplit(url if "//" in url else f"//{url}")
    if not parts.hostname:
        raise ValueError(f"{url!r} is not a URL (want http://HOST:PORT)")
    return f"{parts.hostname}:{parts.port or 80}"


@contextlib.contextmanager
def _bare(directory: Path) -> Iterator[Server]:
    """Run bare.py."""
    with Process([], directory / "bare.log", {}, program=["scripts/bench/bare.py"]) as process:
        host = wait_for(lambda: listening(process), process)
        yield Server([host], {"server": [process.pid]}, [], process.log)


@contextlib.contextmanager
def _embedded(checkout: Path, directory: Path, settings: Settings, app: str) -> Iterator[Server]:
    """Run `mesh serve`."""
    with Process(["serve", app, "--port=0"], directory / "serve.log", settings, checkout) as process:
        host = wait_for(lambda: listening(process), process)
        yield Server([host], {"server": [process.pid]}, [], process.log)


def listening(process: Process) -> str:
    """Return host:port of a server or a gateway; "" before it has printed it."""
    found = re.search(r"(?:open|listening)\s+https?://(\S+:\d+)", process.printed())
    return found[1] if found else ""


@contextlib.contextmanager
def _cluster(
    checkout: Path, directory: Path, settings: Settings, app: str, gateways: int, workers: int
) -> Iterator[Server]:
    """Run `mesh cluster`."""
    counts = {"gateways": gateways, "workers": workers}
    with Cluster(app, directory, counts, settings, checkout) as cluster:
        wait_for(cluster.ready, cluster)
        time.sleep(SETTLE_SECONDS)
        status = cluster.status()
        parts = {
            kind: [each["pid"] for each in status[kinds]]
            for kind, kinds in (("proxy", "proxies"), ("worker", "workers"), ("gateway", "gateways"))
        }
        hosts = [host_of(each["url"]) for each in status["gateways"]]
        proxies = [each["address"] for each in status["proxies"]]
        yield Server(hosts, parts, proxies, cluster.log)
