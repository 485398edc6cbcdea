"""`snapshot`: channels without one, ones that fail, and what arrives while one is taken."""

import pytest

from mesh import Channel
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.telemetry import counters
from tests.support.until import until
from tests.unit.mesh.worker.handoff.moving_workers import LINK, Mover, scenario, with_settings


@scenario
async def test_a_channel_whose_snapshot_is_none_crashes_instead_of_moving(old, new):
    old.push("do", nothing=True)
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    assert old.kinds()[-1] is commands.Crashed
    assert Mover.ended == [("shutdown", [])]


@pytest.mark.parametrize(
    ("how", "end", "reason"),
    [("raise", commands.Crashed, "on request"), ("stop", commands.Closed, "normal")],
)
def test_a_snapshot_that_fails_or_stops_ends_the_channel(how, end, reason):
    @scenario
    async def run(old, new):
        old.push("do", **{how: True})
        draining = old.drain()
        await old.wait(commands.Moving)
        old.do(commands.Handover(1))
        await draining
        assert old.kinds()[-1] is end
        assert Mover.ended == [(reason, [])]

    run()


@scenario
@with_settings(max_snapshot_bytes=100)
async def test_a_snapshot_over_the_limit_crashes_only_its_channel(old, new):
    await old.join(2)
    old.push("do", fill="x" * 100)
    draining = old.drain()
    for number in (1, 2):
        await old.wait(commands.Moving, number)
        old.do(commands.Handover(number))
    await draining
    await old.wait(commands.Crashed, 1)
    await old.wait(commands.Moved, 2)
    assert "worker.max_snapshot_bytes allows 100" in Mover.ended[0][0]


@scenario
async def test_a_class_without_snapshot_does_not_move(old, new):
    await old.join(2, "stay:1")
    draining = old.drain()
    await old.wait(commands.Moving, 1)
    old.do(commands.Handover(1))
    await draining
    assert [each.channel for each in old.sent if isinstance(each, commands.Moving)] == [1]
    await old.channels.aclose()
    await old.wait(commands.Crashed, 2)


@scenario
async def test_a_client_that_disconnects_during_an_async_snapshot_ends_its_channel_on_the_old_worker(
    old, new
):
    old.push("do", slow=0.05)
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    server = old.channels.server(LINK, 1)
    await until(lambda: server.mailbox.waiting == 0)
    old.do(commands.SocketDown([1], "closed"))
    await draining
    assert Mover.ended == [("closed", [])]


@scenario
async def test_messages_to_itself_during_an_async_snapshot_are_dropped_and_counted(old, new):
    before = counters.value("messages_not_moved")
    old.push("do", slow=0.05)
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    server = old.channels.server(LINK, 1)
    await until(lambda: server.mailbox.waiting == 0)
    server.channel.send("too late")
    await draining
    await old.wait(commands.Moved)
    assert counters.value("messages_not_moved") == before + 1


@scenario
async def test_subscribed_broadcasts_during_an_async_snapshot_are_dropped_and_counted(old, new):
    before = counters.value("messages_not_moved")
    old.push("do", slow=0.05, subscribe="news:1")
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    server = old.channels.server(LINK, 1)
    await until(lambda: server.mailbox.waiting == 0)
    old.channels.members.broadcast("news:1", Header(VERSION, BROADCAST, "x", 1, "e", JSON), b"{}")
    await draining
    await old.wait(commands.Moved)
    assert counters.value("messages_not_moved") == before + 1


def test_a_class_with_snapshot_needs_restore():
    with pytest.raises(ChannelError, match="Half has snapshot without restore"):

        class Half(Channel):
            def snapshot(self):
                return {}
