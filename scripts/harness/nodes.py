"""A mesh of one node of each kind, with all its ports, and its nodes' memory, metrics and logs."""

import asyncio
import contextlib
import re
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from harness.processes import Process, free_port, ready, wait_for

APP = "examples.conformance:endpoint"
INTERNAL_ERRORS = (
    "handling a message failed",
    "Uncaught exception",
    "Exception in callback",
    "exception was never retrieved",
)
"""What a node logs for exceptions in its own code, which no client may cause."""

_SAMPLE = re.compile(r"^mesh_(\w+?)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Nodes:
    """A proxy, a worker and a gateway over TCP; or, embedded, all in one process.

    Args:
        directory: the directory of the nodes' logs.
        embedded: whether to run everything in one process.
        settings: environment variables of all nodes, besides the addresses.
        app: the application that they serve.

    Attributes:
        port: the gateway's HTTP port.
        proxy: the first port of the proxy.
        link: the worker's port for gateways.
        zeromq: the gateway's port for ZeroMQ clients.
        admin: the port for operators, by node.
        processes: the processes, by node.
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
        """Return whether every node is ready."""
        return all(ready(f"http://127.0.0.1:{port}") for port in self.admin.values())

    def internal_errors(self, name: str) -> int:
        """Return how many exceptions in its own code a node has logged."""
        log = self.processes[name].printed()
        return sum(log.count(each) for each in INTERNAL_ERRORS)

    def kilobytes(self, name: str) -> int:
        """Return the resident memory of a node; 0 if it has ended."""
        try:
            status = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        except OSError:
            return 0
        return int(status.partition("VmRSS:")[2].partition("kB")[0] or 0)

    async def metrics(self, name: str) -> dict[str, float]:
        """Return a node's metrics without the prefix `mesh_`; metrics with labels are summed."""
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
    """Run nodes until the end of the block, once they are ready; the gateway is stopped first."""
    directory.mkdir(exist_ok=True)
    nodes = Nodes(directory, embedded, settings)
    with contextlib.ExitStack() as stack:
        for each in nodes.processes.values():
            stack.enter_context(each)
        wait_for(nodes.ready, *nodes.processes.values())
        yield nodes
