"""A worker's channels: what they send, what their members receive, and what a worker reports about them."""

import asyncio
import gc
import tracemalloc

import pytest

from mesh import Broadcast
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.debug import ChannelInfo
from mesh.link import commands
from mesh.protocol.messages import JSON, Sender
from tests.support.until import until
from tests.unit.mesh.worker.channel.channel_worker import LINK, Patient, Room, Worker, scenario


@scenario()
async def test_what_a_handler_sends_is_stamped_with_its_last_broadcast(worker):
    worker.join()
    worker.push("echo", b'{"n":1}')
    worker.push("both")
    worker.push("echo", b'{"n":2}')
    await worker.wait(commands.Reply, 3)
    assert [each.after for each in worker.sent if isinstance(each, commands.Reply)] == [0, 1, 1]
    assert worker.bus.published == [("room:1", "news", Sender("g", 1, False, 2))]


@scenario()
async def test_an_intercepted_broadcast_reaches_the_members_but_not_its_sender(worker):
    worker.join(1)
    worker.join(2)
    worker.join(3, "room:2")
    await worker.wait(commands.Joined, 3)
    header = Header(VERSION, BROADCAST, "w", 9, "secret", JSON, Sender("g", 1, True))
    worker.channels.members.broadcast("room:1", header, b'{"k":1}')
    worker.channels.members.broadcast("room:1", Header(VERSION, BROADCAST, "w", 10, "open", JSON), b"{}")
    await worker.wait(commands.Pushed)
    assert [each.channel for each in worker.sent if isinstance(each, commands.Pushed)] == [2]


def test_assigns_of_one_channel_are_not_those_of_another():
    @scenario()
    async def check(worker):
        worker.join(1)
        worker.join(2)
        await worker.wait(commands.Joined, 2)
        one, two = (worker.channels.server(LINK, number).channel for number in (1, 2))
        one.assigns["mine"] = 1
        assert two.assigns == {}

    check()


@pytest.mark.parametrize("patterns", [["room:*"]])
def test_only_patterns_of_intercepting_routes_are_subscribed(patterns):
    assert Worker().channels.received_patterns() == patterns


@scenario()
async def test_a_message_for_a_channel_without_handle_info_is_ignored(worker):
    worker.join(topic="deaf:1")
    worker.push("tell", b'{"what":1}')
    worker.push("tell", b'{"what":2}')
    await worker.wait(commands.Reply, 2)
    assert not any(isinstance(each, commands.Crashed) for each in worker.sent)


@pytest.mark.parametrize("what", ["reply", "return"])
def test_a_reply_from_handle_info_without_a_ref_crashes_the_channel(what):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("tell", b'{"what":"%b"}' % what.encode())
        await worker.wait(commands.Crashed)

    check()


@scenario()
async def test_a_push_to_one_channel_cannot_be_answered_by_another(worker):
    worker.join(topic="patient:1")
    worker.push("reply_elsewhere")
    await worker.wait(commands.Crashed)
    assert "belongs to channel 'room:other'" in Patient.heard[-1][1]


@scenario()
async def test_assigns_of_a_route_are_copied_into_each_channel(worker):
    worker.join(1, "deaf:1")
    worker.join(2, "deaf:2")
    await worker.wait(commands.Joined, 2)
    one, two = (worker.channels.server(LINK, number).channel.assigns for number in (1, 2))
    one["tags"].append("b")
    one["deep"]["b"].append(1)
    assert two == {"tags": ["a"], "deep": {"b": []}, "service": Room}


@scenario()
async def test_the_channels_of_a_worker_can_be_listed(worker):
    worker.join(1)
    await worker.wait(commands.Joined)
    worker.push("hang")
    await asyncio.sleep(0)
    worker.push("echo")
    worker.join(2, "patient:1", data=b'{"slow":60}')
    listed = [
        ChannelInfo("room:1", "joined", "Room", None, "g", 1),
        ChannelInfo("patient:1", "joining", "Patient", None, "g", 0),
    ]
    await until(lambda: worker.channels.live() == listed)
    worker.do(commands.Leave(1, "9"))
    assert worker.channels.live()[0] == ChannelInfo("room:1", "leaving", "Room", None, "g", 2)


@scenario()
async def test_an_idle_channel_costs_about_two_kilobytes(worker):
    async def join(numbers):
        for number in numbers:
            worker.join(number)
        await until(lambda: len(worker.channels.live()) == numbers.stop)
        worker.sent.clear()
        gc.collect()

    await join(range(100))
    tracemalloc.start()
    try:
        await join(range(100, 2_100))
        assert tracemalloc.get_traced_memory()[0] / 2_000 < 3_000
    finally:
        tracemalloc.stop()


@scenario()
async def test_a_local_broadcast_reaches_members_and_channels_that_subscribed(worker):
    worker.join(1)
    worker.join(2, "patient:1")
    await worker.wait(commands.Joined, 2)
    worker.push("listen", b'{"topic":"room:1"}', number=2)
    await worker.wait(commands.Reply)
    worker.channels.members.local_broadcast("room:1", "news", {"n": 1})
    worker.channels.members.local_broadcast("room:1", "secret", {"n": 2})
    worker.channels.members.local_broadcast("room:2", "news", {"n": 3})
    await until(lambda: len(Patient.heard) == 3)
    assert Patient.heard[1:] == [
        Broadcast("room:1", "news", {"n": 1}),
        Broadcast("room:1", "secret", {"n": 2}),
    ]
    assert (await worker.wait(commands.Broadcast)).event == "news"
    assert (await worker.wait(commands.Pushed)).event == "secret"


def test_joins_and_events_are_logged_at_the_level_their_class_says(log_lines):
    @scenario()
    async def check(worker):
        worker.join(1, "deaf:1", data=b'{"token":"x"}')
        worker.push("tell", b'{"what":1}')
        await worker.wait(commands.Reply)
        worker.join(2, "room:1")
        await worker.wait(commands.Joined, 2)

    check()
    lines = [line for line in log_lines if "params" in line[3]]
    assert [(level, event, fields["topic"]) for _, level, event, fields in lines] == [
        ("info", "joined", "deaf:1"),
        ("warning", "handled", "deaf:1"),
        ("debug", "joined", "room:1"),
    ]
    assert lines[0][3]["params"] == {"token": "[FILTERED]"}
    assert lines[0][3]["milliseconds"] >= 0
