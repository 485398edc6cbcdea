"""A proxy node: relays every broadcast from publishers to subscribers, in libzmq's loop. Stateless."""

import asyncio
import threading

import zmq

from mesh.addresses import publish_address, subscribe_address
from mesh.errors import SettingsError
from mesh.settings import Settings
from mesh.telemetry import get_logger
from mesh.zeromq import sockets
from mesh.zeromq.curve import BUS, new_context
from nodes import banner, lifecycle

log = get_logger("nodes.proxy")


class ProxyNode:
    """Runs `zmq.proxy` in its own thread, until its context is terminated.

    Args:
        settings: `bus.proxies` names the one address that this proxy serves.
        context: in an embedded node, the shared context with the inproc addresses; by default a new one.
    """

    def __init__(self, settings: Settings, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> None:
        self.settings = settings
        if len(settings.bus.proxies) > 1:
            raise SettingsError(
                f"MESH_BUS__PROXIES names {len(settings.bus.proxies)} proxies; choose the one"
                " to serve with --bind"
            )
        (self.address,) = settings.bus.proxies
        self._owns_context = context is None
        self._context: zmq.Context[zmq.Socket[bytes]] = context or new_context(settings.security)
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Bind both sides and relay.

        Raises:
            NodeError: if an address is in use.
            SettingsError: if an address is reachable from other machines and there are no keys.
        """
        bus = self.settings.bus
        frontend = sockets.proxy_frontend(self._context, bus)
        backend = sockets.proxy_backend(self._context, bus)
        try:
            sockets.bind(frontend, publish_address(self.address), BUS)
            sockets.bind(backend, subscribe_address(self.address), BUS)
        except Exception:
            frontend.close()
            backend.close()
            raise
        self._thread = threading.Thread(target=_relay, args=(frontend, backend), name="proxy", daemon=True)
        self._thread.start()

    async def aclose(self) -> None:
        """Stop relaying: at once with its own context, else when the shared context is terminated."""
        if self._owns_context:
            await asyncio.to_thread(self._context.term)

    def join(self) -> None:
        """Wait until the relay has ended."""
        if self._thread is not None:
            self._thread.join()


def _relay(frontend: zmq.Socket[bytes], backend: zmq.Socket[bytes]) -> None:
    try:
        zmq.proxy(frontend, backend)
    except zmq.ContextTerminated:
        pass  # the way in which it is stopped
    except zmq.ZMQError as error:
        log.error("the relay failed", reason=str(error))
    finally:
        frontend.close(linger=0)
        backend.close(linger=0)


def run(settings: Settings) -> None:
    """Run a proxy until SIGINT or SIGTERM."""

    def started(node: lifecycle.Node) -> None:
        assert isinstance(node, ProxyNode)
        rows = [
            ("publishers", publish_address(node.address)),
            ("subscribers", subscribe_address(node.address)),
        ]
        banner.show("proxy", "", rows)

    lifecycle.run(lambda: ProxyNode(settings), started, settings)


if __name__ == "__main__":
    from nodes.cli import run_command

    run_command("proxy")
