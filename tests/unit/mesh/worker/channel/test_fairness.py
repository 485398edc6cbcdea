"""Busy channels share the event loop with the other channels of their worker."""

import asyncio

from mesh.link import commands
from mesh.worker.channel.server import MESSAGES_PER_RUN
from tests.unit.mesh.worker.channel.channel_worker import scenario


@scenario()
async def test_a_channel_that_keeps_sending_to_itself_does_not_delay_others(worker):
    worker.join(1)
    worker.join(2)
    worker.push("spin")
    for number in range(20):
        worker.push("echo", number=2, ref=str(number))
        await worker.wait(commands.Reply, number + 1)


@scenario()
async def test_a_channel_handles_a_bounded_number_of_messages_per_turn(worker):
    for number in (1, 2):
        worker.join(number)
        await worker.wait(commands.Joined, number)
    for number in range(3 * MESSAGES_PER_RUN):
        worker.push("echo", ref=str(number))
    worker.push("echo", number=2)
    await worker.wait(commands.Reply, 3 * MESSAGES_PER_RUN + 1)
    replies = [each for each in worker.sent if isinstance(each, commands.Reply)]
    assert [each.channel for each in replies].index(2) == MESSAGES_PER_RUN
    assert [int(each.ref) for each in replies if each.channel == 1] == list(range(3 * MESSAGES_PER_RUN))


@scenario()
async def test_slow_callbacks_yield_to_the_event_loop(worker):
    worker.join()
    await worker.wait(commands.Joined)
    turns = []
    for _ in range(40):
        worker.push("toil")
    while worker.channels.runners.active:
        turns.append(worker.channels.waiting())
        await asyncio.sleep(0)
    assert len(turns) > 3
