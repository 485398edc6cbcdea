"""The contract of the bus, on every implementation: over ZeroMQ, in memory, and the contract's own example."""

import asyncio
import contextlib
import textwrap

import pytest

from mesh.bus import contract
from mesh.bus.memory import MemoryBus, MemoryNetwork
from tests.contract.bus_contract import BusContract
from tests.support.proxy import bus, free_address, handlers, proxy
from tests.support.until import PATIENCE


@contextlib.asynccontextmanager
async def over_zeromq():
    async with proxy(free_address()) as address:
        with contextlib.ExitStack() as stack:
            yield lambda name, **given: stack.enter_context(bus(address, name, **given))


def started(make):
    def node(name, **given):
        made = make(name)
        made.start(handlers(**given))
        return made

    return node


@contextlib.asynccontextmanager
async def in_memory():
    network = MemoryNetwork()
    yield started(lambda name: MemoryBus(name, network))


@contextlib.asynccontextmanager
async def the_example():
    """The class in the docstring of mesh/bus/contract.py."""
    text = contract.__doc__.partition("    import asyncio")
    code = (text[1] + text[2]).partition("**Writing another implementation**")[0]
    names = {}
    exec(textwrap.dedent(code), names)
    nodes = []
    yield started(lambda name: names["ListBus"](name, nodes))


class TestBus(BusContract):
    @pytest.fixture(params=[over_zeromq, in_memory, the_example], ids=lambda each: each.__name__)
    def run(self, request):
        def run(scenario):
            async def main():
                async with asyncio.timeout(PATIENCE), request.param() as node:
                    await scenario(node)

            asyncio.run(main())

        return run
