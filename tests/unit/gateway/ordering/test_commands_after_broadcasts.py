"""gateway/ordering/commands_after_broadcasts.py: commands stay behind the broadcasts they must follow."""

import asyncio

import pytest

from mesh.gateway.ordering.commands_after_broadcasts import UNREAD_HOLDS, CommandsAfterBroadcasts
from mesh.gateway.ordering.unrecorded import Unrecorded
from tests.support.until import until
from tests.support.virtual_time import run_virtually


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.fixture
def released():
    return []


def make(released, hold_seconds=60.0, unread=lambda: False):
    delivered, unrecorded = set(), Unrecorded()
    order = CommandsAfterBroadcasts(
        lambda origin, command: released.append(command),
        hold_seconds,
        lambda origin, sequence: (origin, sequence) in delivered,
        unread,
        unrecorded,
    )
    order.delivered, order.unrecorded = delivered, unrecorded
    return order


def passed(order, origin, topic, sequence):
    order.delivered.add((origin, sequence))
    order.passed(origin, topic, sequence)


def test_a_command_whose_broadcast_has_passed_goes_at_once(released):
    async def scenario():
        order = make(released)
        passed(order, "w", "room:1", 5)
        order.follow("w", "room:1", 5, "a")
        assert released == ["a"]

    run(scenario())


def test_a_command_waits_for_its_broadcast_and_others_pass_it(released):
    async def scenario():
        order = make(released)
        order.follow("w", "room:1", 7, "late")
        order.follow("other", "room:1", 0, "x")
        passed(order, "w", "room:2", 6)
        order.follow("w", "room:2", 6, "early")
        assert released == ["x", "early"]
        passed(order, "w", "room:1", 7)
        assert released == ["x", "early", "late"]

    run(scenario())


def test_commands_of_one_channel_leave_in_the_order_they_came(released):
    async def scenario():
        order = make(released)
        for n, after in enumerate([3, 3, 4, 4, 4, 6]):
            order.follow("w", "room:1", after, n)
        passed(order, "w", "room:1", 4)
        assert released == [0, 1, 2, 3, 4]
        passed(order, "w", "room:1", 9)
        assert released == [0, 1, 2, 3, 4, 5]

    run(scenario())


def test_a_broadcast_that_never_comes_delays_a_command_for_a_bounded_time(released):
    async def scenario():
        order = make(released, hold_seconds=0.01)
        order.follow("w", "room:1", 7, "a")
        async with asyncio.timeout(5):
            while not released:
                await asyncio.sleep(0.001)
        order.follow("w", "room:1", 7, "b")
        assert released == ["a", "b"]

    run(scenario())


def test_what_may_stand_unread_in_the_bus_is_waited_for_longer(released):
    async def scenario():
        unread, looks = True, []
        order = make(released, hold_seconds=0.02, unread=lambda: looks.append(1) or unread)
        loop = asyncio.get_running_loop()
        began = loop.time()
        order.follow("w", "room:1", 7, "a")
        await until(lambda: released)
        assert loop.time() - began >= UNREAD_HOLDS * 0.02
        looks.clear()
        order.follow("w", "room:1", 8, "b")
        await until(lambda: len(looks) == 3)
        assert released == ["a"]
        unread = False
        await until(lambda: released == ["a", "b"])

    run_virtually(scenario())


def test_a_worker_that_is_gone_releases_what_waited(released):
    async def scenario():
        order = make(released)
        order.follow("w", "room:1", 7, "a")
        order.follow("w", "room:1", 8, "b")
        order.forget("w")
        assert released == ["a", "b"]

    run(scenario())


def test_a_later_broadcast_to_another_topic_may_come_first_and_releases_nothing(released):
    async def scenario():
        order = make(released)
        passed(order, "w", "room:2", 9)
        order.follow("w", "room:1", 7, "a")
        passed(order, "w", "room:2", 10)
        assert released == []
        passed(order, "w", "room:1", 7)
        assert released == ["a"]

    run(scenario())
