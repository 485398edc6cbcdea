"""gateway/socket_ids.py: every subscription of an id is undone once."""

import asyncio
import contextlib

import pytest

from mesh.gateway.socket_ids import SocketIds
from tests.support.bus import Bus


class SilentBus(Bus):
    def when_subscribed(self, callback):
        pass


@pytest.mark.parametrize(("bus", "left"), [(SilentBus, 0), (Bus, 1)], ids=["cancelled", "in force"])
def test_a_client_that_is_not_taken_in_leaves_no_subscription(bus, left):
    async def main():
        made = bus()
        subscribing = asyncio.create_task(SocketIds(made).subscribe("users:1"))
        await asyncio.sleep(0)
        assert len(made.subscribed) == 1
        subscribing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await subscribing
        assert len(made.subscribed) == left

    asyncio.run(main())
