"""Publishing that waits until the proxy has it: for those who would otherwise exit, or answer, too early.

A probe is published behind the messages and comes back through the proxy (mesh/bus/barrier.py): the proxy
takes what one connection sends in order, so by then it has taken the messages.
"""

import asyncio
from collections.abc import Callable

from mesh.bus.barrier import subscribed
from mesh.bus.bus import Bus
from mesh.errors import UnreachableError


async def deliver(bus: Bus, publish: Callable[[], object], timeout_seconds: float) -> None:
    """Call `publish` once the proxy is there; return when the proxy has what it published.

    Raises:
        UnreachableError: saying whether anything was published.
    """
    publisher, watch = bus.publisher, bus.watch
    if watch.away or not publisher.connected:
        try:
            await confirm(bus, timeout_seconds)
        except UnreachableError as error:
            raise UnreachableError(f"nothing was published: {error}") from None
    dropped, interruptions = publisher.dropped, watch.interruptions
    publish()
    if publisher.dropped > dropped:
        raise UnreachableError(
            "the bus is overloaded: its backlog is full and messages were dropped", lost=True
        )
    try:
        async with asyncio.timeout(timeout_seconds):
            await subscribed(bus)
    except TimeoutError:
        raise UnreachableError(
            f"the bus did not confirm within {timeout_seconds:g} s; the message may be delivered yet"
        ) from None
    watch.look()
    if watch.interruptions > interruptions:
        raise UnreachableError(
            "the proxy went away while the message was on its way to it; it may be lost", lost=True
        )


async def confirm(bus: Bus, timeout_seconds: float) -> None:
    """Return once the proxy is there and has every subscription made so far.

    Raises:
        UnreachableError: if that takes longer than `timeout_seconds`.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await subscribed(bus)
    except TimeoutError:
        raise UnreachableError(
            f"no proxy answered at {bus.address} within {timeout_seconds:g} s; is it running"
            " (`mesh proxy`), and is this its address (MESH_BUS__PROXIES)?"
        ) from None
