"""mesh.client's channels against a real gateway, over both transports."""

import asyncio
import gc

import pytest

from mesh.client import ChannelClosed, Client, JoinRefused, PushError, PushTimeout
from mesh.errors import ChannelError, PayloadError
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run


async def next_of(channel, seconds=PATIENCE):
    async with asyncio.timeout(seconds):
        return await anext(aiter(channel))


def test_a_channel_pushes_receives_and_leaves_in_every_format(address, encoding):
    async def scenario():
        before = asyncio.all_tasks()
        async with Client(address, params={"user_id": "7"}, format=encoding) as client:
            room = await client.join("room:lobby", {"name": "ana"})
            assert room.response == {"topic": "room:lobby"}
            assert room.state == "joined"
            assert await room.push("echo", {"a": [1, None, "ü"]}) == {"a": [1, None, "ü"]}
            assert await room.push("echo") == {}
            assert await room.push("bin", b"\x00\xff") == b"\x00\xff"
            with pytest.raises(PushError) as failed:
                await room.push("fail", {})
            assert (failed.value.status, failed.value.response) == ("error", {"reason": "bad"})
            with pytest.raises(
                PushTimeout, match=r"'noreply' on 'room:lobby' was not answered within 0.05"
            ):
                await room.push("noreply", {}, timeout_seconds=0.05)
            await room.cast("new_msg", {"n": 1})
            assert await next_of(room) == ("new_msg", {"n": 1})
            await room.cast("new_msg", b"\x01")
            assert await next_of(room) == ("new_msg", b"\x01")
            await room.cast("push_me", b"\x02")
            assert await next_of(room) == ("pushed", b"\x02")
            await room.cast("intercept_me", {"k": 1})
            assert await next_of(room) == ("intercept_me", {"k": 1, "to": "7"})
            await room.leave()
            assert room.state == "closed"
            assert [each async for each in room] == []
            with pytest.raises(ChannelClosed):
                await room.push("echo", {})
        assert not client.connected
        assert asyncio.all_tasks() == before

    run(scenario())


def test_a_refused_join_closes_the_channel(address):
    async def scenario():
        async with Client(address) as client:
            for topic, reason in (("room:private", "unauthorized"), ("nope:1", "unmatched topic")):
                channel = client.channel(topic)
                with pytest.raises(JoinRefused) as refused:
                    await channel.join()
                assert refused.value.response == {"reason": reason}
                assert channel.state == "closed"

    run(scenario())


def test_callbacks_receive_queued_events_and_exceptions_in_one_do_not_affect_others(address):
    async def scenario():
        seen, states = [], []
        async with Client(address) as client:
            room = client.channel("room:callbacks")
            room.on_state(lambda state, reason: states.append(state))
            await room.join()
            await room.cast("new_msg", {"n": 1})
            await room.push("echo", {})  # its reply follows the event
            room.on("new_msg", lambda payload: seen.append(("a", payload["n"])))
            assert seen == [("a", 1)]
            room.on("new_msg", lambda payload: 1 / 0)
            off = room.on("new_msg", lambda payload: seen.append(("b", payload["n"])))
            await room.cast("new_msg", {"n": 2})
            await until(lambda: len(seen) == 3)
            off()
            await room.cast("new_msg", {"n": 3})
            await until(lambda: len(seen) == 4)
            assert seen == [("a", 1), ("a", 2), ("b", 2), ("a", 3)]
            with pytest.raises(ChannelError, match="coroutine function"):
                room.on("new_msg", next_of)
        assert states == ["joining", "joined", "closed"]

    run(scenario())


def test_a_full_queue_drops_and_counts_the_oldest_events(address):
    async def scenario():
        async with Client(address) as client:
            room = await client.join("room:queue", max_queued=3)
            for number in range(5):
                await room.cast("new_msg", {"n": number})
            await room.push("echo", {})
            assert room.dropped == 2
            assert [(await next_of(room)).payload["n"] for _ in range(3)] == [2, 3, 4]

    run(scenario())


def test_presence_follows_joins_and_leaves(server, address):
    topic = f"presence:{address.partition(':')[0]}"

    async def scenario():
        async with Client(address, params={"user_id": "ana"}) as client:
            channel = await client.join(topic)
            presence = channel.presence()
            told = []
            presence.on_join(lambda key, before, came: told.append(("join", key)))
            presence.on_leave(lambda key, now, left: told.append(("leave", key)))
            await until(lambda: list(presence.state) == ["ana"])
            async with Client(server["websocket"], params={"user_id": "bo"}) as other:
                await other.join(topic)
                await until(lambda: sorted(presence.state) == ["ana", "bo"])
            await until(lambda: list(presence.state) == ["ana"])
            assert told[-2:] == [("join", "bo"), ("leave", "bo")]
            assert presence.list(lambda key, entry: (key, len(entry["metas"]))) == [("ana", 1)]

    run(scenario())


def test_a_crashed_channel_rejoins_and_then_sends_buffered_pushes(address):
    async def scenario():
        async with Client(address, rejoin_seconds=(0.01,)) as client:
            asked = []
            room = await client.join("room:crash", lambda: asked.append(1) or {"n": len(asked)})
            states = []
            room.on_state(lambda state, reason: states.append(state))
            with pytest.raises(Exception, match="ended before the reply"):
                await room.push("crash", {})
            assert room.state == "errored"
            assert await room.push("echo", {"a": 1}) == {"a": 1}
            assert states == ["errored", "joining", "joined"]
            assert len(asked) == 2

    run(scenario())


def test_a_second_channel_on_a_topic_replaces_the_first(address):
    async def scenario():
        async with Client(address) as client:
            first = await client.join("room:twice")
            second = await client.join("room:twice")
            await until(lambda: first.state == "closed")
            assert await second.push("echo", {"a": 1}) == {"a": 1}
            with pytest.raises(ChannelClosed, match="already joined"):
                await second.join()

    run(scenario())


def test_a_payload_that_cannot_be_encoded_raises_and_the_channel_continues(address):
    async def scenario():
        async with Client(address) as client:
            room = await client.join("room:bad")
            with pytest.raises(PayloadError):
                await room.push("echo", object())
            with pytest.raises(ChannelError, match="event 7 is not a string"):
                await room.cast(7)
            other = client.channel("room:other", {"x": object()})
            with pytest.raises(PayloadError):
                await other.join()
            assert await room.push("echo", {"a": 1}) == {"a": 1}
            await until(lambda: other.state == "closed")

    run(scenario())


def test_a_cancelled_join_push_or_loop_leaves_no_state(address):
    async def scenario():
        before = asyncio.all_tasks()
        async with Client(address) as client:
            room = await client.join("room:cancel")
            idle = asyncio.all_tasks()

            async def read():
                async for _ in room:
                    pass

            for work in (lambda: room.push("noreply", {}), read):
                task = asyncio.ensure_future(work())
                await room.push("echo", {})
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            # Private: a push or reader that is kept although nobody waits for it shows in memory only.
            assert (client._driver._pushes.waiting, room._channel_state.sent, list(room._readers)) == (
                {},
                {},
                [],
            )
            other = client.channel("room:other")
            task = asyncio.ensure_future(other.join())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (room.state, other.state) == ("joined", "closed")
            assert await room.push("echo", {"a": 1}) == {"a": 1}
            assert asyncio.all_tasks() == idle
        assert asyncio.all_tasks() == before
        gc.collect()

    run(scenario())


def test_clients_of_other_kinds_exchange_messages_with_it(server, address):
    async def scenario():
        browser = await PhoenixClient.connect(server["http"])
        await browser.join("room:both")
        async with Client(address) as client:
            room = await client.join("room:both")
            await room.cast("from", {"n": 1})
            assert (await browser.event("from"))[4] == {"n": 1}
            browser.cast("room:both", "new_msg", {"n": 2})
            assert await next_of(room) == ("new_msg", {"n": 2})

    run(scenario())


def test_messages_cast_before_the_client_closes_arrive(server, address):
    async def scenario():
        browser = await PhoenixClient.connect(server["http"])
        await browser.join("room:end")
        async with Client(address) as client:
            room = await client.join("room:end")
            for number in range(500):
                await room.cast("new_msg", {"n": number, "text": "x" * 1000})
        for number in range(500):
            assert (await browser.event("new_msg"))[4]["n"] == number

    run(scenario())
