"""Waiting for the bus: until subscriptions are in force, and until servers have what was published.

The second is for those who would otherwise exit, or answer, too early: a script, a request of the
publishing API. If a server fails meanwhile, what was published goes through another, or through the same
one when it is back; the bus knows how (guarantee 4 of mesh/bus/contract.py).
"""

import asyncio
from collections.abc import Callable
from functools import partial

from mesh import contexts
from mesh.bus.contract import Bus
from mesh.errors import UnreachableError

SETTLE_SECONDS = 0.25
"""Once one server has answered, the others have this long to answer as well."""
LOOK_SECONDS = 0.01
"""Between two looks whether a server is there."""


def subscribed(bus: Bus) -> "asyncio.Future[None]":
    """Done once all subscriptions made so far on `bus` are in force. Who gives up cancels it."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    withdraw = bus.when_subscribed(partial(_resolve, done))
    done.add_done_callback(lambda _: withdraw(), context=contexts.fresh())
    return done


def _resolve(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


async def deliver(bus: Bus, publish: Callable[[], object], timeout_seconds: float) -> None:
    """Call `publish` once a server is there; return when servers have what it published.

    Raises:
        UnreachableError: saying whether anything was published.
    """
    before = bus.status()
    if not before.connected:
        try:
            await confirm(bus, timeout_seconds)
        except UnreachableError as error:
            raise UnreachableError(f"nothing was published: {error}") from None
        before = bus.status()
    first = bus.sequence + 1
    publish()
    last = bus.sequence
    if bus.status().dropped > before.dropped:
        raise UnreachableError(
            "the bus is overloaded: its backlog is full and messages were dropped", lost=True
        )
    try:
        async with asyncio.timeout(timeout_seconds):
            if last < first:  # published by an earlier call, which may wait yet
                await subscribed(bus)
            await bus.confirmed(first, last)
    except TimeoutError:
        raise UnreachableError(
            f"the bus did not confirm within {timeout_seconds:g} s; the message may be delivered yet"
        ) from None


async def confirm(bus: Bus, timeout_seconds: float) -> None:
    """Return once a server is there and has every subscription made so far.

    Raises:
        UnreachableError: if that takes longer than `timeout_seconds`.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await subscribed(bus)
    except TimeoutError:
        raise UnreachableError(
            f"no proxy answered at {', '.join(bus.status().addresses)} within {timeout_seconds:g} s; is it"
            " running (`mesh proxy`), and is this its address (MESH_BUS__PROXIES)?"
        ) from None


async def reach(bus: Bus, timeout_seconds: float) -> None:
    """Return once a server answers, and the others do or had SETTLE_SECONDS for it. Raises as `confirm`."""
    confirmed = asyncio.ensure_future(confirm(bus, timeout_seconds))
    try:
        while not confirmed.done():
            connected = bus.status().connected
            await asyncio.wait({confirmed}, timeout=SETTLE_SECONDS if connected else LOOK_SECONDS)
            if connected:
                return
        await confirmed
    finally:
        confirmed.cancel()
