"""A cluster on one machine: proxies, workers and gateways, each a process, supervised."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from mesh.errors import MeshError, NodeError
from mesh.nodes import banner, listening
from mesh.nodes.cluster.readiness import wait_until_ready
from mesh.nodes.cluster.status_file import StatusFile
from mesh.nodes.cluster.supervisor import STOP_SECONDS, Child, Supervisor
from mesh.nodes.runtime import lifecycle
from mesh.nodes.runtime.private_directory import PrivateDirectory
from mesh.nodes.runtime.signals import signals
from mesh.settings import Settings, environment
from mesh.telemetry import get_logger, output

log = get_logger(__name__)

MAX_PORT = 65_535


def run(
    app_spec: str,
    settings: Settings,
    gateways: int,
    workers: int,
    proxies: int,
    status_file: Path | None,
) -> int:
    """Run a cluster until SIGINT or SIGTERM; returns the exit code.

    Raises:
        NodeError: if a port is in use, or the status file cannot be at its path.
    """
    signals.install()
    with PrivateDirectory() as directory:
        cluster = Cluster(app_spec, settings, gateways, workers, proxies, directory, status_file)
        try:
            return asyncio.run(cluster.run())
        finally:
            cluster.close()


class Cluster:
    """The nodes of one cluster, and the ports reserved for them.

    Ports are reserved by sockets that never listen, so that a restarted gateway gets its own port again.
    """

    def __init__(
        self,
        app_spec: str,
        settings: Settings,
        gateways: int,
        workers: int,
        proxies: int,
        directory: Path,
        status_file: Path | None,
    ) -> None:
        self._app_spec = app_spec
        self._settings = settings
        self._directory = directory
        self._status_file = StatusFile(status_file) if status_file is not None else None
        self._addresses = [f"ipc://{directory / f'proxy.{number}'}" for number in range(1, proxies + 1)]
        self._reserved: list[socket.socket] = []
        self._rolling_restart: asyncio.Task[None] | None = None
        ours = (0, output.standard(1).descriptor, output.standard(2).descriptor)
        self._terminals = [number for number in ours if os.isatty(number)]
        hosts, port = settings.gateway.host, settings.gateway.port
        self._port = self._reserve_port(hosts, port)
        own = [port + number if port else 0 for number in range(1, gateways + 1)]
        self._own_ports = [self._reserve_port(hosts, each) for each in own]
        self._proxies = [
            self._child("proxy", ["--bind", address], {}, 2, f"proxy.{number}")
            for number, address in enumerate(self._addresses, 1)
        ]
        self._workers = [self._worker(number) for number in range(1, workers + 1)]
        self._gateways = [self._gateway(number) for number in range(1, gateways + 1)]

    async def run(self) -> int:
        """Supervise until a signal to stop arrives.

        Raises:
            NodeError: if the status file cannot be at its path.
        """
        children = [*self._proxies, *self._workers, *self._gateways]
        if self._status_file is not None:
            self._status_file.write_first(self._status())
        stop_seconds = self._settings.drain.shutdown_seconds + STOP_SECONDS
        supervisor = Supervisor(children, self._write_status, stop_seconds, self._settings.log.format)
        loop = asyncio.get_running_loop()
        signals.on_stop(
            lambda: lifecycle.call_soon(loop, supervisor.stop),
            lambda: lifecycle.call_soon(loop, supervisor.kill),
        )
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # `nohup`
            loop.add_signal_handler(signal.SIGHUP, self._on_sighup, supervisor)
        rows = [("open", self._url(self._port))]
        rows += [
            (child.name, self._url(port))
            for child, port in zip(self._gateways, self._own_ports, strict=True)
        ]
        workers = str(len(self._workers))
        proxies = [("proxy", address) for address in self._addresses]
        banner.show("cluster", self._app_spec, [*rows, ("workers", workers), *proxies])
        try:
            return await supervisor.run()
        finally:
            if self._rolling_restart is not None:
                self._rolling_restart.cancel()

    def _on_sighup(self, supervisor: Supervisor) -> None:
        """Handle SIGHUP: stop if our terminal was closed, else begin a rolling restart."""
        if self._terminals and not any(map(os.isatty, self._terminals)):
            supervisor.stop()
        else:
            self._start_rolling_restart(supervisor)

    def _start_rolling_restart(self, supervisor: Supervisor) -> None:
        """Restart every node, one by one, while the others keep working."""
        if self._rolling_restart is not None and not self._rolling_restart.done():
            log.warning("a rolling restart is already in progress")
            return
        self._rolling_restart = asyncio.get_running_loop().create_task(self._restart_all(supervisor))

    async def _restart_all(self, supervisor: Supervisor) -> None:
        gateways = [self._url(port) for port in self._own_ports]

        async def ready() -> None:
            await wait_until_ready(self._addresses, gateways, len(self._workers))

        try:
            await supervisor.rolling_restart(ready)
        except MeshError as error:
            log.error("rolling restart aborted", reason=str(error))
        except Exception as error:
            log.error("rolling restart aborted", exc_info=error)
        else:
            log.info("rolling restart done")

    def close(self) -> None:
        """Release the ports."""
        for each in self._reserved:
            each.close()

    def _reserve_port(self, hosts: list[str], port: int) -> int:
        try:
            if port > MAX_PORT:  # a gateway's own port may exceed it
                raise NodeError(
                    f"cannot listen on {listening.bracketed(hosts[0])}:{port}: beyond {MAX_PORT};"
                    " choose another with --port"
                )
            if port:  # with SO_REUSEPORT we could share it with another gateway of the same user
                for probe in listening.listen(hosts, port):
                    probe.close()
            sockets = listening.bind(hosts, port, reuse_port=True)
        except NodeError:
            self.close()
            raise
        self._reserved += sockets
        bound: int = sockets[0].getsockname()[1]
        return bound

    def _worker(self, number: int) -> Child:
        name = f"worker.{number}"
        child = self._child("worker", [self._app_spec], {}, 1, name)

        def environment_for_start() -> dict[str, str]:
            # A new path for each start: the socket file of the last one may still exist.
            path = self._directory / f"{name}-{child.starts}"
            admin = self._admin_port(len(self._own_ports) + number)
            named = {"MESH_LOG__NODE": name, "MESH_LINK__BIND": f"ipc://{path}"}
            return {**self._environment(), **admin, **named}

        child.environment = environment_for_start
        return child

    def _gateway(self, number: int) -> Child:
        variables = {
            "MESH_GATEWAY__PORT": str(self._port),
            "MESH_GATEWAY__REUSE_PORT": "true",
            "MESH_GATEWAY__OWN_PORT": str(self._own_ports[number - 1]),
            **self._admin_port(number),
        }
        return self._child("gateway", [self._app_spec], variables, 0, f"gateway.{number}")

    def _child(
        self, kind: str, arguments: list[str], variables: dict[str, str], rank: int, name: str = ""
    ) -> Child:
        command = [sys.executable, "-m", "mesh", kind, *arguments]
        variables = {"MESH_LOG__NODE": name or kind, **variables}
        return Child(name or kind, lambda: command, lambda: {**self._environment(), **variables}, rank)

    def _environment(self) -> dict[str, str]:
        return {
            **environment(self._settings),
            "MESH_CONFIG": os.devnull,  # an error in a file that is not used must not stop the nodes
            "MESH_BUS__PROXIES": ",".join(self._addresses),
            "MESH_SECURITY__SECRET_KEY": lifecycle.secret(self._settings),
            "PYTHONUNBUFFERED": "1",
        }

    def _admin_port(self, number: int) -> dict[str, str]:
        """Gateways get the first ports after the configured one, workers the next ones."""
        port = self._settings.admin.port
        return {} if port is None else {"MESH_ADMIN__PORT": str(port + number if port else 0)}

    def _url(self, port: int) -> str:
        scheme = "https" if self._settings.gateway.tls_certificate is not None else "http"
        return listening.url(scheme, self._settings.gateway.host[0], port)

    def _write_status(self) -> None:
        if self._status_file is not None:
            self._status_file.write(self._status())

    def _status(self) -> dict[str, Any]:
        proxies = [
            {"name": each.name, "pid": each.pid, "address": address}
            for each, address in zip(self._proxies, self._addresses, strict=True)
        ]
        return {
            "url": self._url(self._port),
            "proxy": proxies[0],
            "proxies": proxies,
            "workers": [{"name": each.name, "pid": each.pid} for each in self._workers],
            "gateways": [
                {"name": each.name, "pid": each.pid, "url": self._url(port)}
                for each, port in zip(self._gateways, self._own_ports, strict=True)
            ],
        }
