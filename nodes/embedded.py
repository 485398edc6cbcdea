"""Gateway, worker and proxy in one process, over inproc: the same code, no broker to install."""

import asyncio
import secrets

import zmq
from msgspec.structs import replace

from mesh.endpoint import Endpoint
from mesh.settings import Settings
from mesh.zeromq.curve import new_context
from nodes import banner, lifecycle
from nodes.admin import AdminServer
from nodes.gateway import GatewayNode
from nodes.metrics import Gauges
from nodes.proxy import ProxyNode
from nodes.worker import WorkerNode


class EmbeddedNode:
    """A whole mesh in one process.

    Attributes:
        gateway: its gateway.
        worker: its worker.
    """

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        name = secrets.token_hex(4)
        bus = replace(settings.bus, proxies=[f"inproc://proxy-{name}"])
        link = replace(settings.link, bind=f"inproc://link-{name}")
        settings = replace(settings, bus=bus, link=link)
        self._context: zmq.Context[zmq.Socket[bytes]] = new_context(settings.security)
        self._proxy = ProxyNode(settings, self._context)
        self.worker = WorkerNode(endpoint, settings, self._context)
        self.gateway = GatewayNode(endpoint, settings, self._context, self._slow_down)
        self.admin: AdminServer | None = None

    async def start(self) -> None:
        """Start the proxy, the worker and the gateway.

        Raises:
            NodeError: if a port is in use.
        """
        await self._proxy.start()
        await self.worker.start()
        await self.gateway.start()
        gateway = self.gateway
        admin = gateway.settings.admin
        self.admin = AdminServer(admin, gateway.id, "embedded", gateway.checks, self.gauges, gateway.routes)

    def _slow_down(self, unread: bool) -> None:
        """Slow the channels down while the gateway, on the same event loop, is behind their broadcasts."""
        if self.worker.channels is not None:
            self.worker.channels.runners.slow_down(unread)

    async def aclose(self) -> None:
        """Stop the gateway, the worker and the proxy."""
        await self.gateway.aclose()
        if self.admin is not None:
            self.admin.close()
        await self.worker.aclose()
        await asyncio.to_thread(self._context.term)
        self._proxy.join()

    def gauges(self) -> Gauges:
        """Return the values for `/metrics`: the gateway's, and those that only the worker has."""
        return {**self.worker.gauges(), **self.gateway.gauges()}


def run(endpoint: Endpoint, settings: Settings, app_spec: str) -> None:
    """Run everything in this process until SIGINT or SIGTERM."""

    def started(node: lifecycle.Node) -> None:
        assert isinstance(node, EmbeddedNode)
        rows = [("open", address) for address in node.gateway.addresses]
        rows += [("zeromq", node.gateway.zeromq_address)] if node.gateway.zeromq_address else []
        rows += [("admin", node.admin.address)] if node.admin and node.admin.address else []
        banner.show("serve", app_spec, rows)

    lifecycle.run(lambda: EmbeddedNode(endpoint, settings), started, settings)


if __name__ == "__main__":
    from nodes.cli import run_command

    run_command("serve")
