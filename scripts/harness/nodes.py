"""A mesh of one node of each kind, every port of it, and how its nodes are: memory, metrics, log."""

import asyncio
import contextlib
import re
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.processes import Process, free_port, ready, wait_for

APP = "examples.conformance:endpoint"
OUR_FAULTS = (
    "handling a message failed",
    "Uncaught exception",
    "Exception in callback",
    "exception was never retrieved",
)
"""What a node logs when its own code raised; no client may provoke that."""

_SAMPLE = re.compile(r"^mesh_(\w+?)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Nodes:
    """A proxy, a worker and a gateway over TCP; or, embedded, all in one process.

    Args:
        directory: for the nodes' logs.
        embedded: all in one.
        settings: environment of all nodes, beside the addresses.
        app: that they serve.

    Attributes:
        port: of the gateway, for HTTP.
        proxy: first port of the proxy.
        link: port of the worker, for gateways.
        zeromq: port of the gateway, for ZeroMQ clients.
        admin: port for operators, by the node's name.
        processes: by the node's name.
    """

    def __init__(
        self, directory: Path, embedded: bool, settings: Mapping[str, str], app: str = APP
    ) -> None:
        self.port, self.link, self.zeromq = free_port(), free_port(), free_port()
        self.proxy = free_port(2)
        self.admin: dict[str, int] = {}
        self._directory = directory
        self._settings = {
            "MESH_GATEWAY__PORT": str(self.port),
            "MESH_ZEROMQ__BIND": f"tcp://127.0.0.1:{self.zeromq}",
            "MESH_LOG__LEVEL": "error",
            **settings,
        }
        if embedded:
            kinds = {"serve": [app]}
        else:
            self._settings["MESH_BUS__PROXIES"] = f"tcp://127.0.0.1:{self.proxy}"
            self._settings["MESH_LINK__BIND"] = f"tcp://127.0.0.1:{self.link}"
            kinds = {"proxy": [], "worker": [app], "gateway": [app]}
        self.processes = {name: self._start(name, arguments) for name, arguments in kinds.items()}
        self.clients_node = "serve" if embedded else "gateway"
        self.channels_node = "serve" if embedded else "worker"

    def _start(self, name: str, arguments: list[str]) -> Process:
        settings = self._settings
        if name != "proxy":
            self.admin[name] = free_port()
            settings = {**settings, "MESH_ADMIN__PORT": str(self.admin[name])}
        return Process([name, *arguments], self._directory / f"{name}.log", settings)

    def ready(self) -> bool:
        """Whether every node is."""
        return all(ready(f"http://127.0.0.1:{port}") for port in self.admin.values())

    def faults(self, name: str) -> int:
        """How often a node has logged an error of its own."""
        log = self.processes[name].printed()
        return sum(log.count(each) for each in OUR_FAULTS)

    def kilobytes(self, name: str) -> int:
        """Resident memory of a node; 0 if it has ended."""
        try:
            status = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        except OSError:
            return 0
        return int(status.partition("VmRSS:")[2].partition("kB")[0] or 0)

    async def metrics(self, name: str) -> dict[str, float]:
        """What a node exports, without the prefix `mesh_`; of a metric with labels the sum."""
        found: dict[str, float] = {}
        for metric, value in _SAMPLE.findall(await asyncio.to_thread(self._metrics, name)):
            found[metric] = found.get(metric, 0) + float(value)
        return found

    def _metrics(self, name: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin[name]}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text


@contextlib.contextmanager
def running(directory: Path, embedded: bool, settings: Mapping[str, str]) -> Iterator[Nodes]:
    """Nodes that are ready; stopped at the end, the gateway first."""
    directory.mkdir(exist_ok=True)
    nodes = Nodes(directory, embedded, settings)
    with contextlib.ExitStack() as stack:
        for each in nodes.processes.values():
            stack.enter_context(each)
        wait_for(nodes.ready, *nodes.processes.values())
        yield nodes
