"""A proxy node: relays every broadcast from publishers to subscribers, in libzmq's loop. Stateless."""

import asyncio
import threading
from contextlib import AsyncExitStack, ExitStack

import zmq

from mesh.addresses import publish_address, subscribe_address
from mesh.errors import SettingsError
from mesh.nodes import banner
from mesh.nodes.runtime import lifecycle
from mesh.settings import Settings
from mesh.telemetry import get_logger
from mesh.zeromq import sockets
from mesh.zeromq.curve import BUS, new_context

log = get_logger(__name__)


class ProxyNode:
    """A proxy that runs; `start` makes it.

    Attributes:
        address: the address that it serves.
        context: the context of its sockets. In an embedded node all nodes use it, for inproc addresses.
    """

    def __init__(self, address: str, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.address = address
        self.context = context

    @classmethod
    async def start(cls, stack: AsyncExitStack, settings: Settings) -> "ProxyNode":
        """Bind both sides, and run `zmq.proxy` in a thread of its own.

        Args:
            stack: stops the proxy.
            settings: `bus.proxies` names the one address that this proxy serves.

        Raises:
            NodeError: if an address is in use.
            SettingsError: if there are several addresses, or if one is reachable from other machines and
                there are no keys.
        """
        address = _address(settings)
        context: zmq.Context[zmq.Socket[bytes]] = new_context(settings.security)
        stack.push_async_callback(asyncio.to_thread, context.term)
        with ExitStack() as bound:
            frontend = bound.enter_context(sockets.proxy_frontend(context, settings.bus))
            backend = bound.enter_context(sockets.proxy_backend(context, settings.bus))
            sockets.bind(frontend, publish_address(address), BUS)
            sockets.bind(backend, subscribe_address(address), BUS)
            bound.pop_all()
        relay = threading.Thread(target=_relay, args=(frontend, backend), name="proxy", daemon=True)
        relay.start()
        stack.push_async_callback(_stop_relay, context, relay)
        return cls(address, context)


def _address(settings: Settings) -> str:
    proxies = settings.bus.proxies
    if len(proxies) > 1:
        raise SettingsError(
            f"MESH_BUS__PROXIES names {len(proxies)} proxies; choose the one to serve with --bind"
        )
    (address,) = proxies
    return address


def _relay(frontend: zmq.Socket[bytes], backend: zmq.Socket[bytes]) -> None:
    try:
        zmq.proxy(frontend, backend)
    except zmq.ContextTerminated:
        pass  # this is how it is stopped
    except zmq.ZMQError as error:
        log.error("the relay failed", reason=str(error))
    finally:
        frontend.close(linger=0)
        backend.close(linger=0)


async def _stop_relay(context: zmq.Context[zmq.Socket[bytes]], relay: threading.Thread) -> None:
    """Stop relaying, and wait for the thread. All other sockets of the context are closed already."""
    await asyncio.to_thread(context.term)
    relay.join()


def run(settings: Settings) -> None:
    """Run a proxy until SIGINT or SIGTERM."""

    def started(node: ProxyNode) -> None:
        rows = [
            ("publishers", publish_address(node.address)),
            ("subscribers", subscribe_address(node.address)),
        ]
        banner.show("proxy", "", rows)

    lifecycle.run(lambda stack: ProxyNode.start(stack, settings), started, settings)
