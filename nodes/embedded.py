"""Gateway, worker and proxy in one process, over inproc: the same code, no broker to install."""

import secrets
from contextlib import AsyncExitStack

from msgspec.structs import replace

from mesh.app.endpoint import Endpoint
from mesh.nodes import banner
from mesh.nodes.gateway import Embedding, GatewayNode
from mesh.nodes.proxy import ProxyNode
from mesh.nodes.runtime import lifecycle
from mesh.nodes.worker import WorkerNode
from mesh.settings import Settings


class EmbeddedNode:
    """A whole mesh in one process; `start` makes it.

    Attributes:
        gateway: its gateway, which has the operators' port of all of them.
        worker: its worker.
    """

    def __init__(self, gateway: GatewayNode, worker: WorkerNode) -> None:
        self.gateway = gateway
        self.worker = worker

    @classmethod
    async def start(cls, stack: AsyncExitStack, endpoint: Endpoint, settings: Settings) -> "EmbeddedNode":
        """Start the proxy, the worker and the gateway; `stack` stops them in the reverse order.

        Raises:
            NodeError: if a port is in use.
        """
        name = secrets.token_hex(4)
        bus = replace(settings.bus, proxies=[f"inproc://proxy-{name}"])
        link = replace(settings.link, bind=f"inproc://link-{name}")
        settings = replace(settings, bus=bus, link=link)
        proxy = await ProxyNode.start(stack, settings)
        worker = await WorkerNode.start(stack, endpoint, settings, proxy.context)
        # Channels are slowed down while the gateway, on the same event loop, is behind their broadcasts.
        embedding = Embedding(proxy.context, worker.channels.runners.throttle, worker.gauges)
        gateway = await GatewayNode.start(stack, endpoint, settings, embedding)
        return cls(gateway, worker)


def run(endpoint: Endpoint, settings: Settings, app_spec: str) -> None:
    """Run everything in this process until SIGINT or SIGTERM."""

    def started(node: EmbeddedNode) -> None:
        gateway = node.gateway
        rows = [("open", address) for address in gateway.addresses]
        rows += [("zeromq", gateway.zeromq_address), ("admin", gateway.admin.address)]
        banner.show("serve", app_spec, rows)

    lifecycle.run(lambda stack: EmbeddedNode.start(stack, endpoint, settings), started, settings)
