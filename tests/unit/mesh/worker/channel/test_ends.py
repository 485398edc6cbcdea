"""How a channel ends: stopped, replaced, killed, with its gateway, with its worker."""

import asyncio
import gc
import weakref

import pytest

from mesh.link import commands
from mesh.telemetry import counters
from mesh.worker.channel.lifecycle import Event
from tests.support.until import until
from tests.unit.mesh.worker.channel.channel_worker import LINK, Patient, Room, scenario


@scenario()
async def test_a_replaced_channel_is_cancelled_and_closed(worker):
    worker.join()
    worker.push("hang")
    worker.push("echo")
    await worker.wait(commands.Joined)
    await asyncio.sleep(0)
    worker.do(commands.Replace(1))
    await worker.wait(commands.Closed)
    assert Room.ended == ["duplicate_join"]
    assert not any(isinstance(each, commands.Reply) for each in worker.sent)


@scenario(kill_seconds=60)
async def test_a_channel_that_ends_before_it_is_killed_is_free_at_once(worker):
    worker.join()
    await worker.wait(commands.Joined)
    ended = weakref.ref(worker.channels.server(LINK, 1).channel)
    worker.do(commands.Leave(1, "2"))
    worker.do(commands.Replace(1))  # the leave is answered first, within kill_seconds
    await worker.wait(commands.Closed)
    assert Room.ended == ["left"]

    def free():
        gc.collect()
        return ended() is None

    await until(free)


@scenario(kill_seconds=0.05)
async def test_a_callback_that_ignores_cancellation_is_abandoned(worker):
    worker.join()
    worker.push("hang", b'{"stubborn":true}')
    await worker.wait(commands.Joined)
    await asyncio.sleep(0)
    worker.do(commands.Replace(1))
    await worker.wait(commands.Closed)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    for task in asyncio.all_tasks():
        if task.get_name() == "channel runner" and task is not asyncio.current_task():
            task.get_coro().close()  # it ignores cancellation


@pytest.mark.causes_phase_errors
@scenario()
async def test_an_event_not_allowed_in_its_phase_ends_only_that_channel(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    server = worker.channels.server(LINK, 1)
    server.channel.echo = lambda payload: server.change(Event.RESTORED)
    worker.push("echo")
    assert (await worker.wait(commands.Crashed)).channel == 1
    assert Room.ended == ["Event.RESTORED in Phase.JOINED"]
    worker.push("echo", number=2)
    await worker.wait(commands.Reply)


@scenario()
async def test_a_lost_gateway_ends_its_channels_and_nothing_is_sent_to_it(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    sent = len(worker.sent)
    worker.channels.gateway_down(LINK)
    await until(lambda: Room.ended == ["closed", "closed"])
    assert len(worker.sent) == sent


@scenario()
async def test_commands_for_channels_that_ended_are_counted(worker):
    before = counters.value("pushes_without_channel")
    worker.push("echo", number=9)
    worker.do(commands.Leave(9, "1"))
    worker.do(commands.SocketDown([9], "closed"))
    worker.do(commands.Replace(9))
    assert worker.sent == [commands.Closed(9, 0)]
    assert counters.value("pushes_without_channel") == before + 2


@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (lambda worker: worker.push("end"), commands.Closed),
        (lambda worker: worker.push("crash"), commands.Crashed),
        (lambda worker: worker.do(commands.Leave(1, "2")), commands.Closed),
        (lambda worker: worker.do(commands.Replace(1)), commands.Closed),
        (lambda worker: worker.channels.malformed(LINK, 1), commands.Crashed),
    ],
    ids=["stop", "crash", "leave", "replace", "kill"],
)
def test_a_cancellation_within_terminate_does_not_prevent_cleanup(act, answer):
    @scenario()
    async def test(worker):
        untracked = []
        worker.channels.presences.untrack_all = untracked.append
        worker.join(1, "fragile:1")
        await worker.wait(commands.Joined)
        act(worker)
        await worker.wait(answer)
        await until(lambda: untracked)
        assert len(worker.channels.members) == 0
        worker.join(2, "patient:1")
        assert (await worker.wait(commands.Joined, 2)).channel == 2

    test()


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        (b'"normal"', commands.Closed),
        (b'"shutdown"', commands.Closed),
        (b'"shutdown:maintenance"', commands.Closed),
        (b'"shutdowns"', commands.Crashed),
        (b'"on fire"', commands.Crashed),
        (b"7", commands.Crashed),
    ],
)
def test_the_stop_reason_decides_whether_the_client_rejoins(reason, command):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("end", b'{"reason":' + reason + b"}")
        await worker.wait(command)

    check()


@scenario()
async def test_a_stopping_worker_crashes_its_channels_and_leaves_pending_joins_unanswered(worker):
    worker.join(1, "patient:1")
    await worker.wait(commands.Joined)
    worker.join(2, "patient:2", data=b'{"slow":60}')
    await until(lambda: len(Patient.heard) == 2)
    await worker.channels.aclose()
    assert [(type(each), each.channel) for each in worker.sent] == [
        (commands.Joined, 1),
        (commands.Crashed, 1),
    ]
    assert Patient.heard[2:] == [("terminate", "shutdown")] * 2
