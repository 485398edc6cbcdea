"""mesh/link/batches.py: one message per tick, nothing lost, nobody hurt by another's command."""

import asyncio

from mesh.link import commands
from mesh.link.batches import BATCH_BYTES, Batches, Bounds
from mesh.telemetry import counters
from tests.support.until import until


class Wire:
    """Takes batches, or refuses them as a full queue does."""

    def __init__(self, placeholder=None, **bounds):
        self.full, self.sent, self.overflows, self.behind = False, [], [], []
        bounds = Bounds(
            **{"max_batches": 10, "max_bytes": 10**9, "pause_bytes": 10**9, "max_seconds": 60.0, **bounds}
        )
        self.batches = Batches(self.send, self.overflows.append, bounds, placeholder, self.behind.append)

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
    for bounds, named in (
        ({"max_batches": 2}, "high_water_mark"),
        ({"max_bytes": 3 * BATCH_BYTES, "max_batches": 1_000_000}, "max_queued_bytes"),
        ({"max_seconds": 0.02}, "heartbeat_timeout_seconds"),
    ):
        wire = Wire(**bounds)
        wire.full = True
        wire.batches.add(pushed(1))
        async with asyncio.timeout(5):
            while not wire.overflows:
                if "max_seconds" not in bounds:
                    wire.batches.add(pushed(1, data=b"x" * BATCH_BYTES))
                await asyncio.sleep(0)
        wire.batches.closed = True
        assert named in wire.overflows[0]


@scenario
async def test_who_makes_the_commands_is_told_at_the_mark_and_at_half_of_it():
    wire = Wire(pause_bytes=4 * BATCH_BYTES)
    wire.full = True
    for number in range(6):
        wire.batches.add(pushed(number, data=b"x" * BATCH_BYTES))
    assert wire.behind == [True], "before the tick ends"
    await until(lambda: wire.batches.waiting_bytes > 6 * BATCH_BYTES)
    wire.full = False
    await until(lambda: wire.behind == [True, False])
    assert not wire.batches.behind
    assert wire.batches.waiting_bytes == 0
    assert [each.channel for batch in wire.sent for each in batch] == list(range(6))


@scenario
async def test_long_names_of_events_count_as_well():
    wire = Wire(pause_bytes=2 * BATCH_BYTES)
    wire.full = True
    size = 0
    for number in range(1_500):
        wire.batches.add(pushed(number, event="e" * 4_096))
        size += 4_096
        if wire.behind:
            break
    assert wire.behind == [True], "they are 64 bytes each, and more than 6 MB together"
    assert size < 3 * 2 * BATCH_BYTES


@scenario
async def test_what_gathers_while_the_way_is_blocked_leaves_in_few_batches():
    wire = Wire()
    wire.full = True
    for number in range(50):
        wire.batches.add(pushed(number))
        await asyncio.sleep(0.0)
        wire.batches.flush()
    wire.full = False
    await until(lambda: sum(map(len, wire.sent)) == 50)
    assert len(wire.sent) == 2
    assert [each.channel for batch in wire.sent for each in batch] == list(range(50))


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
