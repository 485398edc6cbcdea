"""Runs a scenario with a proxy, and reads a subscription."""

import asyncio

from tests.support.proxy import free_address, proxy
from tests.support.until import PATIENCE


def run(scenario):
    """With a proxy: `scenario(address)`."""

    async def main():
        async with proxy(free_address()) as address, asyncio.timeout(PATIENCE):
            await scenario(address)

    asyncio.run(main())


async def following(subscription, count):
    got = []
    async for broadcast in subscription:
        got.append(broadcast)
        if len(got) == count:
            return got
