"""mesh.client against a real gateway, over both transports and in both formats."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import ssl

import pytest
import zmq

from mesh.client import (
    ChannelClosed,
    Client,
    ClientError,
    ConnectError,
    ConnectRefused,
    JoinRefused,
    PushError,
    PushTimeout,
    events,
)
from mesh.errors import ChannelError, PayloadError, SettingsError
from tests.support import relay
from tests.support.processes import ORDER, serve
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run

QUICK = {"reconnect_seconds": (0.05,), "rejoin_seconds": (0.05,)}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {"MESH_ZEROMQ__BIND": f"ipc://{directory}/clients", **ORDER}
    with serve(directory, "examples.conformance:endpoint", env=env) as (_, url):
        yield {
            "http": url,
            "websocket": url.replace("http", "ws") + "/socket",
            "zeromq": env["MESH_ZEROMQ__BIND"],
        }


@pytest.fixture(params=["websocket", "zeromq"])
def address(server, request):
    return server[request.param]


@pytest.fixture(params=["json", "msgpack"])
def encoding(request):
    return request.param


@pytest.fixture
def silent():
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def next_of(channel, seconds=PATIENCE):
    async with asyncio.timeout(seconds):
        return await anext(aiter(channel))


def test_a_conversation(address, encoding):
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
            with pytest.raises(JoinRefused) as refused:
                await client.join("room:private")
            assert refused.value.response == {"reason": "unauthorized"}
            with pytest.raises(JoinRefused) as refused:
                await client.join("nope:1")
            assert refused.value.response == {"reason": "unmatched topic"}
            assert client._driver._channels == {}

    run(scenario())


@pytest.mark.parametrize("transport", ["websocket", "zeromq"])
def test_who_is_not_let_in_is_told(server, transport):
    async def scenario():
        before = asyncio.all_tasks()
        with pytest.raises(ConnectRefused) as refused:
            async with Client(server[transport], params={"token": "bad"}):
                pass
        assert refused.value.status == 403
        elsewhere = server[transport].replace("/socket", "/other")
        with pytest.raises(ConnectRefused) as refused:
            async with Client(elsewhere, path="/other"):
                pass
        assert refused.value.status == 404
        assert asyncio.all_tasks() == before

    run(scenario())


@pytest.mark.parametrize(
    "address", ["ws://127.0.0.1:1/socket", "tcp://127.0.0.1:1", "ipc:///nowhere/at/all"]
)
def test_a_server_that_is_not_there(address):
    async def scenario():
        before = asyncio.all_tasks()
        with pytest.raises(ConnectError, match="cannot be reached"):
            async with Client(address):
                pass
        assert asyncio.all_tasks() == before

    run(scenario())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"address": "http://localhost"}, "want ws://"),
        ({"address": "ws://:7"}, "no usable host"),
        ({"address": "tcp://localhost"}, "not a ZeroMQ address"),
        (
            {"address": "tcp://localhost:5560", "auth_token": "t"},
            "auth_token: not available over ZeroMQ",
        ),
        ({"server_key": "k" * 40}, "server_key: not available over WebSocket"),
        ({"address": "tcp://localhost:5560", "server_key": "short"}, "40 characters of Z85"),
        ({"address": "tcp://localhost:5560", "public_key": "k" * 40}, "without a server_key"),
        ({"address": "tcp://localhost:5560", "server_key": "k" * 40, "public_key": "k" * 40}, "are a pair"),
        ({"format": "xml"}, "want 'json' or 'msgpack'"),
        ({"timeout_seconds": 0}, "more than 0"),
        ({"rejoin_seconds": ()}, "one or more"),
    ],
)
def test_what_cannot_be_is_said_at_once(options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Client(**options)


def test_callbacks_get_what_came_before_them_and_one_that_raises_harms_nobody(address):
    async def scenario():
        seen, states = [], []
        async with Client(address) as client:
            room = client.channel("room:callbacks")
            room.on_state(lambda state, reason: states.append(state))
            await room.join()
            await room.cast("new_msg", {"n": 1})
            await until(lambda: room._queue)
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


def test_what_is_not_read_in_time_is_dropped_the_oldest_first_and_counted(address):
    async def scenario():
        async with Client(address) as client:
            room = await client.join("room:queue", max_queued=3)
            for number in range(5):
                await room.cast("new_msg", {"n": number})
            await room.push("echo", {})
            assert room.dropped == 2
            assert [(await next_of(room)).payload["n"] for _ in range(3)] == [2, 3, 4]

    run(scenario())


def test_presence_follows_who_comes_and_goes(server, address):
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


def test_a_crashed_channel_is_joined_again_and_a_push_meanwhile_is_sent_then(address):
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


def test_the_second_channel_on_a_topic_takes_the_first_ones_place(address):
    async def scenario():
        async with Client(address) as client:
            first = await client.join("room:twice")
            second = await client.join("room:twice")
            await until(lambda: first.state == "closed")
            assert await second.push("echo", {"a": 1}) == {"a": 1}
            with pytest.raises(ChannelClosed, match="already joined"):
                await second.join()

    run(scenario())


def test_a_payload_that_cannot_be_sent_harms_nobody(address):
    async def scenario():
        async with Client(address) as client:
            room = await client.join("room:bad")
            with pytest.raises(PayloadError):
                await room.push("echo", object())
            with pytest.raises(ChannelError, match="event 7 is not a string"):
                await room.cast(7)
            with pytest.raises(PayloadError):
                await client.join("room:other", {"x": object()})
            assert await room.push("echo", {"a": 1}) == {"a": 1}
            assert len(client._driver._channels) == 1

    run(scenario())


def test_a_cancelled_join_push_and_loop_leave_nothing(address):
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
            assert (client._driver._pushes.waiting, room._core.sent, list(room._waiting)) == ({}, {}, [])
            task = asyncio.ensure_future(client.join("room:other"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert [each.topic for each in client._driver._channels.values()] == ["room:cancel"]
            assert await room.push("echo", {"a": 1}) == {"a": 1}
            assert asyncio.all_tasks() == idle
        assert asyncio.all_tasks() == before
        gc.collect()

    run(scenario())


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_cancelled_connect_leaves_nothing(scheme, silent):
    async def scenario():
        before = asyncio.all_tasks()
        entering = asyncio.ensure_future(Client(f"{scheme}://127.0.0.1:{silent}").__aenter__())
        await until(lambda: len(asyncio.all_tasks() - before) > 1)
        await asyncio.sleep(0.05)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await until(lambda: entering not in asyncio.all_tasks())
        ours = {each for each in asyncio.all_tasks() - before if "mesh" in each.get_name()}
        assert not ours

    run(scenario())


def test_a_server_that_does_not_answer_is_given_up(silent):
    async def scenario():
        for scheme in ("ws", "tcp"):
            with pytest.raises(ConnectError, match="does not answer"):
                async with Client(f"{scheme}://127.0.0.1:{silent}", connect_timeout_seconds=0.2):
                    pass

    run(scenario())


def test_params_may_be_functions_that_wait_and_nest(server):
    async def scenario():
        async def params():
            await asyncio.sleep(0)
            return {"user_id": "ä&ö", "deep": {"a": [1, True]}}

        async with Client(server["websocket"] + "?extra=1", params=params) as client:
            channel = await client.join("presence:params")
            presence = channel.presence()
            await until(lambda: list(presence.state) == ["ä&ö"])
            assert "extra" not in client.address
        with pytest.raises(SettingsError, match="params are 7"):
            async with Client(server["websocket"], params=lambda: 7):
                pass

    run(scenario())


def test_other_clients_see_it(server, address):
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


def test_what_was_cast_before_the_end_arrives(server, address):
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


def test_a_client_is_used_once(address):
    async def scenario():
        client = Client(address)
        with pytest.raises(ChannelClosed, match="not open"):
            await client.join("room:1")
        async with client:
            pass
        with pytest.raises(ConnectError, match="used before"):
            async with client:
                pass
        with pytest.raises(ChannelClosed):
            await client.join("room:1")
        with contextlib.suppress(ClientError):
            await client.aclose()

    run(scenario())


def test_an_auth_token_travels_as_that_of_phoenix_js(tmp_path):
    with serve(tmp_path, "tests.support.mounts_app:endpoint") as (_, url):
        tokens = iter(["t0ken/?", "second"])

        async def scenario():
            address = url.replace("http", "ws") + "/auth/websocket"
            headers = {"X-Device": "7"}
            async with Client(address, auth_token=lambda: next(tokens), headers=headers, **QUICK) as client:
                opened = []
                client.on_open(lambda: opened.append(1))
                info = await client.join("info:1")
                told = await info.push("me")
                assert (told["auth_token"], told["x_headers"]) == ("t0ken/?", {"x-device": "7"})
                client._driver._hang_up(1006, "")  # as if the connection was lost
                client._driver.feed(events.Closed("lost"))
                await until(lambda: opened)
                assert (await info.push("me"))["auth_token"] == "second"

        run(scenario())


def test_over_tls_the_certificate_is_checked(server, tmp_path):
    cert, key = relay.certificate(tmp_path)

    async def scenario():
        host, port = server["http"].removeprefix("http://").split(":")
        async with relay.tls(cert, key, host, int(port)) as encrypted:
            address = f"wss://127.0.0.1:{encrypted}/socket"
            with pytest.raises(ConnectError, match="certificate verify failed"):
                async with Client(address):
                    pass
            trusting = ssl.create_default_context(cafile=str(cert))
            async with Client(address, ssl=trusting) as client:
                room = await client.join("room:tls")
                assert await room.push("echo", {"a": 1}) == {"a": 1}

    run(scenario())


@pytest.mark.parametrize("own", [False, True], ids=["new pair", "own pair"])
def test_over_zeromq_with_curve_keys(server, own):
    public, secret = [key.decode() for key in zmq.curve_keypair()]
    other, _ = [key.decode() for key in zmq.curve_keypair()]
    mine = [key.decode() for key in zmq.curve_keypair()]
    pair = {"public_key": mine[0], "secret_key": mine[1]} if own else {}

    async def scenario():
        async with relay.curve(secret.encode(), server["zeromq"]) as address:
            async with Client(address, server_key=public, **pair) as client:
                room = await client.join("room:curve")
                assert await room.push("bin", b"\x00") == b"\x00"
            for keys in ({"server_key": other}, {}):
                with pytest.raises(ConnectError):
                    async with Client(address, connect_timeout_seconds=1, **keys):
                        pass

    run(scenario())


async def unchanged_for(seconds, events):
    """A busy machine may break a connection: then the time begins anew."""
    loop, length, since = asyncio.get_running_loop(), len(events), 0.0

    def unchanged():
        nonlocal length, since
        if len(events) != length or not since:
            length, since = len(events), loop.time()
        return loop.time() - since > seconds

    await until(unchanged)


def test_a_heartbeat_keeps_the_connection_and_a_missing_answer_ends_it(tmp_path):
    env = {"MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "4", "MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            async with (
                Client(url.replace("http", "ws") + "/socket", heartbeat_seconds=1.5, **QUICK) as one,
                Client(env["MESH_ZEROMQ__BIND"], heartbeat_seconds=1.5, **QUICK) as two,
            ):
                rooms = [await client.join("room:beat") for client in (one, two)]
                stories = [[], []]
                for client, story in zip((one, two), stories, strict=True):
                    client.on_close(lambda code, reason, story=story: story.append(reason))
                    client.on_open(lambda story=story: story.append("open"))
                for story in stories:
                    await unchanged_for(5.5, story)  # longer than the silent are borne
                await until(lambda: one.connected and two.connected)
                lengths = [len(story) for story in stories]
                os.kill(process.pid, signal.SIGSTOP)
                try:
                    for story, length in zip(stories, lengths, strict=True):
                        await until(
                            lambda story=story, length=length: "heartbeat timeout" in story[length:]
                        )
                finally:
                    os.kill(process.pid, signal.SIGCONT)
                for room in rooms:
                    assert await room.push("echo", {"a": 1}) == {"a": 1}

        run(scenario())
