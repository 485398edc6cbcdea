"""mesh/link/batches.py: one message per tick, nothing lost, nobody hurt by another's command."""

import asyncio

from mesh.link import commands
from mesh.link.batches import BATCH_BYTES, Batches
from mesh.telemetry import counters


class Wire:
    """Takes batches, or refuses them as a full queue does."""

    def __init__(self, max_batches=10, placeholder=None):
        self.full, self.sent, self.overflows = False, [], []
        self.batches = Batches(self.send, lambda: self.overflows.append(1), max_batches, placeholder)

    def send(self, batch):
        if not self.full:
            self.sent.append(commands.decode_to_gateway(batch))
        return not self.full


def pushed(number, event="e", data=b"{}"):
    return commands.Pushed(number, 0, event, 0, data)


def scenario(test):
    def run():
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


@scenario
async def test_the_commands_of_one_tick_are_one_message():
    wire = Wire()
    for number in range(5):
        wire.batches.add(pushed(number))
    assert wire.sent == []
    await asyncio.sleep(0)
    assert wire.sent == [[pushed(number) for number in range(5)]]
    assert wire.batches.count == 5


@scenario
async def test_large_commands_are_spread_over_messages_in_order():
    wire = Wire()
    for number in range(5):
        wire.batches.add(pushed(number, data=b"x" * (BATCH_BYTES // 2 + 1)))
    await asyncio.sleep(0)
    assert len(wire.sent) == 3
    assert [each.channel for batch in wire.sent for each in batch] == list(range(5))


@scenario
async def test_what_a_full_queue_refuses_follows_in_order():
    wire = Wire()
    wire.full = True
    for number in range(3):
        wire.batches.add(pushed(number))
        await asyncio.sleep(0)
    assert wire.sent == []
    wire.full = False
    async with asyncio.timeout(5):
        while len(wire.sent) < 1:
            await asyncio.sleep(0)
    assert [each.channel for batch in wire.sent for each in batch] == [0, 1, 2]


@scenario
async def test_a_peer_too_far_behind_is_given_up():
    wire = Wire(max_batches=2)
    wire.full = True
    async with asyncio.timeout(5):
        while not wire.overflows:
            wire.batches.add(pushed(1))
            wire.batches.flush()
            await asyncio.sleep(0)
    wire.batches.closed = True


@scenario
async def test_a_command_that_cannot_be_encoded_costs_no_other():
    before = counters.value("link_commands_unencodable")
    wire = Wire(placeholder=commands.Ping())
    for event in ("a", object(), "\ud800", "b"):
        wire.batches.add(pushed(1, event))
    await asyncio.sleep(0)
    arrived = [each for batch in wire.sent for each in batch]
    assert arrived == [pushed(1, "a"), commands.Ping(), commands.Ping(), pushed(1, "b")]
    assert counters.value("link_commands_unencodable") == before + 2
    wire.batches.add(pushed(2))
    await asyncio.sleep(0)
    assert wire.sent[-1] == [pushed(2)]
