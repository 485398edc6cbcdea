"""Publishing that waits until a proxy has it: for those who would otherwise exit, or answer, too early.

A probe is published behind the messages and comes back through the proxy
(mesh/bus/zeromq/confirmations.py): the proxy takes what one connection sends in order, so by then it has
taken the messages. If it dies or freezes instead, they go through another, or through the same when it is
back.
"""

import asyncio
from collections.abc import Callable

from mesh.bus.zeromq.barrier import subscribed
from mesh.bus.zeromq.bus import Bus
from mesh.bus.zeromq.confirmations import DOUBT_SECONDS
from mesh.errors import UnreachableError

LOOK_SECONDS = 0.01
"""Between two looks whether a proxy is there."""


async def deliver(bus: Bus, publish: Callable[[], object], timeout_seconds: float) -> None:
    """Call `publish` once a proxy is there; return when proxies have what it published.

    Raises:
        UnreachableError: saying whether anything was published.
    """
    publisher = bus.publisher
    if not publisher.connected:
        try:
            await confirm(bus, timeout_seconds)
        except UnreachableError as error:
            raise UnreachableError(f"nothing was published: {error}") from None
    dropped, first = publisher.dropped, publisher.sequence + 1
    publish()
    last = publisher.sequence
    if publisher.dropped > dropped:
        raise UnreachableError(
            "the bus is overloaded: its backlog is full and messages were dropped", lost=True
        )
    try:
        async with asyncio.timeout(timeout_seconds):
            if last < first:  # published by an earlier call, which may wait yet
                await subscribed(bus)
            await bus.confirmations.wait(first, last)
    except TimeoutError:
        raise UnreachableError(
            f"the bus did not confirm within {timeout_seconds:g} s; the message may be delivered yet"
        ) from None


async def confirm(bus: Bus, timeout_seconds: float) -> None:
    """Return once a proxy is there and has every subscription made so far.

    Raises:
        UnreachableError: if that takes longer than `timeout_seconds`.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await subscribed(bus)
    except TimeoutError:
        raise UnreachableError(
            f"no proxy answered at {', '.join(bus.proxies)} within {timeout_seconds:g} s; is it running"
            " (`mesh proxy`), and is this its address (MESH_BUS__PROXIES)?"
        ) from None


async def reach(bus: Bus, timeout_seconds: float) -> None:
    """Return once a proxy answers, and the others do or had DOUBT_SECONDS for it. Raises as `confirm`."""
    confirmed = asyncio.ensure_future(confirm(bus, timeout_seconds))
    try:
        while not confirmed.done():
            connected = bus.publisher.connected
            await asyncio.wait({confirmed}, timeout=DOUBT_SECONDS if connected else LOOK_SECONDS)
            if connected:
                return
        await confirmed
    finally:
        confirmed.cancel()
