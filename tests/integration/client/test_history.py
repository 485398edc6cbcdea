"""mesh.client's channels with a History, against a gateway that says what the test wants."""

import asyncio

import pytest

import mesh
from mesh.client import Client, History, Position
from mesh.errors import ChannelError
from tests.support.history_gateway import EPOCH, OTHER, HistoryGateway
from tests.support.until import until
from tests.support.websocket import run

AT_ONCE = {"reconnect_seconds": (0.001,), "rejoin_seconds": (0.001,)}


@pytest.fixture
def gateway():
    made = HistoryGateway()
    yield made
    made.close()


def against(gateway, scenario):
    """Run `scenario(client, ask)`; `ask` calls a method of the gateway, in a thread."""

    async def main():
        async with Client(gateway.address, **AT_ONCE) as client:
            await scenario(client, asyncio.to_thread)

    async def both():
        await asyncio.gather(asyncio.to_thread(gateway.opened), main())

    run(both())


def test_a_channel_gets_each_broadcast_once_in_order_through_cuts(gateway):
    async def scenario(client, ask):
        history = History(last=2)
        answered = asyncio.ensure_future(ask(gateway.answer, 2, count=2))
        room = await client.join("room:1", lambda: {"nick": "ann"}, history=history)
        assert await answered == {"nick": "ann", "history": {"last": 2}}
        gateway.broadcast(1, 2, 3)
        await until(lambda: history.position == (EPOCH, 3))
        await ask(gateway.cut)
        asked = await ask(gateway.answer, 6, count=3)
        assert asked == {"nick": "ann", "history": {"epoch": EPOCH, "offset": 3}}
        gateway.broadcast(4)
        await until(lambda: history.position == (EPOCH, 4))
        await ask(gateway.cut)
        assert (await ask(gateway.answer, 6, count=2))["history"]["offset"] == 4
        gateway.broadcast(5, 6, 6)
        gateway.announce(7, "frame")
        gateway.binary("frame", b"\x07")
        gateway.own(8)
        gateway.not_kept(9)
        events = [await anext(room) for _ in range(8)]
        assert events == [
            *(("new_msg", {"n": n}) for n in range(1, 7)),
            ("frame", b"\x07"),
            ("new_msg", {"n": 9}),
        ]
        assert history.position == (EPOCH, 8)

    against(gateway, scenario)


def test_a_gap_is_told_before_what_follows_it_and_callbacks_get_no_doubles(gateway):
    async def scenario(client, ask):
        heard = []

        def on_gap(position):
            heard.append(position)
            raise ValueError("logged")

        room = client.channel("room:1", history=History(after=(EPOCH, 7), on_gap=on_gap))
        room.on("new_msg", lambda payload: heard.append(payload["n"]))
        answered = asyncio.ensure_future(ask(gateway.answer, 2, recovered=False, epoch=OTHER))
        await room.join()
        assert await answered == {"history": {"epoch": EPOCH, "offset": 7}}
        gateway.broadcast(2, 3, 3, epoch=OTHER)
        gateway.not_kept(99)
        await until(lambda: 99 in heard)
        assert heard == [Position(OTHER, 2), 3, 99]

    against(gateway, scenario)


def test_the_position_is_that_of_the_last_event_that_a_loop_has_read(gateway):
    async def scenario(client, ask):
        history = History(last=3)
        answered = asyncio.ensure_future(ask(gateway.answer, 3, count=3))
        room = await client.join("room:1", history=history)
        await answered
        gateway.broadcast(1, 2, 3)
        gateway.own(4)
        gateway.not_kept(9)
        await until(lambda: history.arrived == (EPOCH, 4))
        read = []
        for _ in range(3):
            await anext(room)
            read.append(history.position)
        assert read == [(EPOCH, 1), (EPOCH, 2), (EPOCH, 4)]
        await ask(gateway.cut)
        assert (await ask(gateway.answer, 6, count=2))["history"]["offset"] == 4
        gateway.broadcast(5, 6)
        await until(lambda: history.arrived == (EPOCH, 6))
        assert history.position == (EPOCH, 4)
        assert [await anext(room) for _ in range(2)] == [("new_msg", {"n": 9}), ("new_msg", {"n": 5})]
        assert history.position == (EPOCH, 5)
        await ask(gateway.cut)
        assert (await ask(gateway.answer, 6))["history"]["offset"] == 6
        assert await anext(room) == ("new_msg", {"n": 6})
        assert history.position == (EPOCH, 6)

    against(gateway, scenario)


def test_the_position_of_callbacks_passes_events_that_nobody_reads(gateway):
    async def scenario(client, ask):
        history, positions = History(last=2), []
        room = client.channel("room:1", history=history)
        room.on("new_msg", lambda _payload: positions.append(history.position))
        answered = asyncio.ensure_future(ask(gateway.answer, 3, count=3))
        await room.join()
        await answered
        gateway.broadcast(1)
        gateway.announce(2, "frame")
        gateway.binary("frame", b"unread")
        gateway.broadcast(3)
        await until(lambda: len(positions) == 2)
        assert positions == [(EPOCH, 1), (EPOCH, 3)]

    against(gateway, scenario)


def test_a_later_channel_goes_on_from_the_position(gateway):
    async def scenario(client, ask):
        history = History()
        answered = asyncio.ensure_future(ask(gateway.answer, 1))
        room = await client.join("room:1", history=history)
        await answered
        gateway.broadcast(2)
        assert await anext(room) == ("new_msg", {"n": 2})
        left = asyncio.ensure_future(ask(gateway.message))
        leaving = asyncio.ensure_future(room.leave())
        gateway.reply(await left)
        await leaving
        answered = asyncio.ensure_future(ask(gateway.answer, 3, count=1))
        again = await client.join("room:1", history=history)
        assert await answered == {"history": {"epoch": EPOCH, "offset": 2}}
        gateway.broadcast(3)
        assert await anext(again) == ("new_msg", {"n": 3})
        with pytest.raises(ChannelError, match="this history is that of 'room:1'"):
            client.channel("room:2", history=history)

    against(gateway, scenario)


def test_the_history_of_a_channel_class_is_refused_by_a_client(gateway):
    async def scenario(client, _ask):
        with pytest.raises(
            ChannelError, match=r"history is History\(messages=5.*; want a mesh.client.History"
        ):
            client.channel("room:1", history=mesh.History(messages=5))

    against(gateway, scenario)


def test_a_channel_without_a_history_gets_the_events_of_its_protocol_as_any_other(gateway):
    async def scenario(client, ask):
        answered = asyncio.ensure_future(ask(gateway.answer, 1))
        room = await client.join("room:1", {"nick": "ann"})
        assert await answered == {"nick": "ann"}
        gateway.broadcast(2, 2)
        assert [(await anext(room)).event for _ in range(3)] == ["history_state", "new_msg", "new_msg"]

    against(gateway, scenario)
