"""Draining a worker: its channels move to another one, within bounded time, and are freed afterwards."""

import asyncio

import pytest

from mesh import telemetry
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.worker.channel.server import MESSAGES_PER_RUN
from tests.support.until import until
from tests.unit.mesh.worker.handoff.moving_workers import (
    LINK,
    Mover,
    channels_and_servers,
    move,
    run_without_collection,
    scenario,
    with_settings,
)


@scenario
async def test_a_channel_moves_even_if_broadcasts_arrive_faster_than_it_handles_them(old, new):
    sent = 0

    def broadcast(count):
        nonlocal sent
        for _ in range(count):
            sent += 1
            header = Header(VERSION, BROADCAST, "x", sent, "secret", JSON)
            old.channels.members.broadcast("move:1", header, b'{"n":%d}' % sent)

    draining = old.drain()
    await old.wait(commands.Moving)
    broadcast(20)
    old.do(commands.Handover(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.worker.runners.TICK_BUDGET_SECONDS", 0.0)
        while not any(isinstance(each, commands.Moved) for each in old.sent):
            broadcast(MESSAGES_PER_RUN + 1)  # more than are handled in a turn
            assert sent < 900
            await asyncio.sleep(0)
    await draining


@scenario
@with_settings(kill_seconds=0.2)
async def test_a_channel_that_never_becomes_idle_is_killed(old, new):
    old.channels.server(LINK, 1).channel.send("spin")
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    await old.wait(commands.Crashed)
    assert commands.Moved not in old.kinds()


@scenario
@with_settings(kill_seconds=0.2)
async def test_a_channel_whose_gateway_does_not_answer_crashes(old, new):
    await old.drain()
    await old.wait(commands.Crashed)


@scenario
async def test_the_time_to_move_all_channels_is_bounded(old, new):
    old.push("n", n=1, seconds=60)
    draining = old.drain(0.1)
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    await old.channels.aclose()
    assert old.kinds()[-1] is commands.Crashed
    assert Mover.ended == [("shutdown", [])]


@scenario
@with_settings(version=1)
async def test_on_a_link_of_version_1_nothing_moves(old, new):
    await old.drain()
    assert old.kinds() == [commands.Joined]
    await old.channels.aclose()
    assert old.kinds() == [commands.Joined, commands.Crashed]


@scenario
async def test_a_stopping_worker_leaves_new_joins_unanswered(old, new):
    await move(old)
    said = len(old.sent)
    old.do(commands.Join(9, "/socket", "move:1", "1", None, "websocket", "v2_json", b"\x80", JSON, b"{}"))
    assert old.channels.server(LINK, 9) is None
    assert len(old.sent) == said, "unanswered: its gateway will send it elsewhere"


@scenario
async def test_a_client_that_leaves_before_the_handover_is_answered(old, new):
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Leave(1, "9"))
    old.do(commands.Handover(1))
    await draining
    assert old.kinds()[-2:] == [commands.Reply, commands.Closed]
    assert Mover.ended == [("left", [])]


@scenario
async def test_a_client_that_disconnects_after_the_move_ends_its_channel_on_the_old_worker(old, new):
    old.push("n", n=1)
    await move(old)
    old.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert Mover.ended == [("closed", [1])]
    old.do(commands.SocketDown([1], "closed"))
    await asyncio.sleep(0)
    assert len(Mover.ended) == 1


def the_link_ends(old):
    old.channels.gateway_down(LINK)


def the_worker_has_stopped(old):
    old.channels.links_closed()


def its_client_had_disconnected(old):
    old.do(commands.SocketDown([1], "closed"))


@pytest.mark.parametrize("settle", [the_link_ends, the_worker_has_stopped, its_client_had_disconnected])
def test_a_channel_that_has_moved_is_freed_without_garbage_collection(settle):
    @scenario
    async def run(old, new):
        old.push("n", n=1)
        await move(old)
        assert len(channels_and_servers()) == 2, "its client may be gone already"
        settle(old)
        await until(lambda: not channels_and_servers())
        assert Mover.ended == ([("closed", [1])] if settle is its_client_had_disconnected else [])

    run_without_collection(run)


@scenario
async def test_the_end_of_another_link_does_not_settle_a_move(old, new):
    await move(old)
    old.channels.gateway_down(b"another")
    old.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)


def test_the_timers_of_a_channel_are_cancelled_by_its_move():
    @scenario
    async def run(old, new):
        old.push("do", later=60)
        await old.wait(commands.Reply)
        await move(old)
        the_worker_has_stopped(old)
        await until(lambda: not channels_and_servers())  # a pending timer would keep them

    run_without_collection(run)


@scenario
async def test_a_move_is_reported_to_telemetry_hooks(old, new):
    heard = []

    def hook(event, measurements, metadata):
        heard.append((metadata["topic"], metadata["reason"]))

    telemetry.attach("channel_ended", hook)
    try:
        await move(old)
    finally:
        telemetry.detach("channel_ended", hook)
    assert heard == [("move:1", "moved")]
