"""Waiting for the bus: until subscriptions are in force, or servers have accepted what was published.

The latter is for callers that would otherwise exit or answer too early: a script, or a request of the
publishing API. If a server fails meanwhile, the messages are sent through another one, or through the same
one when it returns (guarantee 4 of mesh/bus/contract.py).
"""

import asyncio
from collections.abc import Callable
from functools import partial

from mesh import contexts
from mesh.bus.contract import Bus
from mesh.errors import UnreachableError

SETTLE_SECONDS = 0.25
"""Once one server has answered, the others have this long to answer as well."""
POLL_SECONDS = 0.01
"""The interval at which `wait_until_connected` checks whether a server is available."""


def subscribed(bus: Bus) -> "asyncio.Future[None]":
    """Return a future, done once all subscriptions made so far are in force. Cancel it to give up."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    withdraw = bus.when_subscribed(partial(_resolve, done))
    done.add_done_callback(lambda _: withdraw(), context=contexts.fresh())
    return done


def _resolve(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)


async def publish_and_confirm(bus: Bus, publish: Callable[[], object], timeout_seconds: float) -> None:
    """Call `publish` once a server is available; return when servers have accepted the messages.

    Raises:
        UnreachableError: if that takes too long; the message says whether anything was published.
    """
    before = bus.status()
    if not before.connected:
        try:
            await wait_until_subscribed(bus, timeout_seconds)
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
            if last < first:  # published by an earlier call, which may still wait
                await subscribed(bus)
            await bus.confirmed(first, last)
    except TimeoutError:
        raise UnreachableError(
            f"the bus did not confirm the message within {timeout_seconds:g} s; it may still be delivered"
        ) from None


async def wait_until_subscribed(bus: Bus, timeout_seconds: float) -> None:
    """Return once a server is available and every subscription made so far is in force.

    Raises:
        UnreachableError: if that takes longer than `timeout_seconds`.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            await subscribed(bus)
    except TimeoutError:
        raise UnreachableError(
            f"no proxy answered at {', '.join(bus.status().addresses)} within {timeout_seconds:g} s; is it"
            " running (`mesh proxy`, `mesh cluster`; `mesh serve` has none), and is its address correct"
            " (MESH_BUS__PROXIES; `mesh cluster` prints it)?"
        ) from None


async def wait_until_connected(bus: Bus, timeout_seconds: float) -> None:
    """Return once a server answers, and all do or SETTLE_SECONDS have passed.

    Raises:
        UnreachableError: as `wait_until_subscribed`.
    """
    subscribing = asyncio.ensure_future(wait_until_subscribed(bus, timeout_seconds))
    try:
        while not subscribing.done():
            connected = bus.status().connected
            await asyncio.wait({subscribing}, timeout=SETTLE_SECONDS if connected else POLL_SECONDS)
            if connected:
                return
        await subscribing
    finally:
        subscribing.cancel()
