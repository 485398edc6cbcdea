"""What a channel takes along when it moves: assigns, subscriptions, presences, missed broadcasts."""

import msgspec
import pytest

from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.errors import ChannelError
from mesh.link import commands
from mesh.protocol.messages import JSON, Sender
from mesh.worker.handoff.state import unpack
from tests.support.until import until
from tests.unit.mesh.worker.handoff.moving_workers import (
    LINK,
    Mover,
    connect_trackers,
    got,
    move,
    presence,
    scenario,
)


@scenario
async def test_pushes_before_the_handover_are_handled_and_later_ones_reach_the_next_worker(old, new):
    old.push("n", n=1, seconds=0.01)
    draining = old.drain()
    await old.wait(commands.Moving)
    for number in range(2, 50):
        old.push("n", n=number)
    old.do(commands.Handover(1))
    await draining
    assert old.kinds()[:2] == [commands.Joined, commands.Moving]
    assert old.kinds()[2:] == [commands.Reply] * 49 + [commands.Moved]
    new.restore(old.sent[-1])
    await new.wait(commands.Joined)
    new.push("n", n=50)
    await new.wait(commands.Reply)
    assert got(new) == list(range(1, 51))
    assert Mover.ended == [], "a channel that moves does not end"
    assert old.channels.live() == []


@scenario
async def test_assigns_move_except_for_unchanged_ones_of_the_route(old, new):
    old.push("do", assign={"user": "bo", "limit": 7, "deep": [1, {"a": None}]})
    moved = await move(old)
    assert msgspec.msgpack.decode(moved.assigns) == {"user": "bo", "limit": 7, "deep": [1, {"a": None}]}
    new.restore(moved)
    pushed = await new.wait(commands.Pushed)
    assert msgspec.json.decode(pushed.data)["assigns"] == msgspec.msgpack.decode(moved.assigns)
    server = new.channels.server(LINK, 1)
    assert server.channel.assigns["service"] is Mover


@scenario
async def test_moved_follows_the_last_broadcast_of_the_channel(old, new):
    old.push("do", broadcast=True)
    assert (await move(old)).after == old.bus.sequence == 1


@scenario
async def test_subscriptions_are_renewed_before_restore(old, new):
    old.push("do", subscribe="news:1")
    moved = await move(old)
    assert old.bus.subscribed == []
    new.restore(moved)
    await new.wait(commands.Joined)
    assert new.bus.subscribed == [b"news:1\0"]
    new.channels.members.broadcast("news:1", Header(VERSION, BROADCAST, "x", 1, "e", JSON), b"{}")
    new.push("n", n=1)
    await new.wait(commands.Reply)
    assert got(new) == [["info", "news:1"], 1]


@scenario
async def test_a_presence_is_tracked_until_another_worker_tracks_it(old, new):
    connect_trackers(old, new)
    old.push("do", track="ana")
    moved = await move(old)
    (ref,) = [meta["phx_ref"] for meta in presence.get_by_key("move:1", "ana")["metas"]]
    (tracked,) = unpack(moved.data).tracked
    assert (tracked.presence, tracked.topic, tracked.key) == ("presence", "move:1", "ana")
    new.restore(moved)
    await new.wait(commands.Joined)
    await old.presences.wait_until_taken_over(5)
    (meta,) = presence.get_by_key("move:1", "ana")["metas"]
    assert meta["phx_ref_prev"] == ref != meta["phx_ref"], "the old entry has left"


@scenario
async def test_changes_of_presences_are_told_before_the_channel_moves(old, new):
    (server,) = old.presences._servers.values()
    server.track("somebody", "move:1", "ana", {})
    server.track("somebody", "move:1", "bo", {})  # collected for the next diff
    await move(old)
    assert old.kinds()[-2:] == [commands.Broadcast, commands.Moved]
    assert list(msgspec.json.decode(old.sent[-2].data)["joins"]) == ["bo"]


@scenario
async def test_a_channel_that_has_moved_can_no_longer_track_or_subscribe(old, new):
    channel = old.channels.server(LINK, 1).channel
    old.push("do", track="ana")
    await move(old)
    tracked = presence.list("move:1")
    for add in (
        lambda: presence.track(channel, "ghost"),
        lambda: presence.update(channel, "ana", {"n": 1}),
        lambda: channel.subscribe("news:1"),
    ):
        with pytest.raises(ChannelError, match="the channel has ended"):
            add()
    assert presence.list("move:1") == tracked
    assert old.bus.subscribed == []


@scenario
async def test_intercepted_broadcasts_are_handled_once_whichever_worker_received_them_first(old, new):
    def broadcast(sequence, *workers, sender=None):
        header = Header(VERSION, BROADCAST, "x", sequence, "secret", JSON, sender)
        for worker in workers:
            worker.channels.members.broadcast("move:1", header, b'{"n":%d}' % sequence)

    broadcast(1, old, new)
    broadcast(2, old)  # the new one will hear it later
    moved = await move(old)
    broadcast(3, old, new)
    broadcast(4, new, sender=Sender("g", 1, True))  # its own broadcast_from
    new.restore(moved)
    await new.wait(commands.Joined)
    broadcast(5, new)
    new.push("n", n=6)
    await new.wait(commands.Reply)
    assert got(new) == [["out", 1], ["out", 2], ["out", 3], ["out", 5], 6]


@scenario
async def test_missed_broadcasts_count_toward_the_mailbox_bytes_until_handled(old, new):
    old.push("do", slow_restore=0.01)
    moved = await move(old)
    header = Header(VERSION, BROADCAST, "x", 1, "secret", JSON)
    new.channels.members.broadcast("move:1", header, b'{"n":1}')
    new.restore(moved)
    await until(lambda: new.channels.waiting_bytes() == len(b'{"n":1}'))
    await new.wait(commands.Joined)
    await until(lambda: new.channels.waiting() == 0)
    assert new.channels.waiting_bytes() == 0
