"""Long-poll: bodies and statuses as captured from Phoenix."""

import asyncio
import base64
import json

import pytest

from tests.support.http import broadcast
from tests.support.longpoll import LongPoll, LongPollClient, http
from tests.support.processes import serve
from tests.support.websocket import PhoenixClient, open_connection, run

QUICK = {"MESH_LONGPOLL__WINDOW_SECONDS": "4", "MESH_LONGPOLL__MAX_SESSIONS": "60"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), "examples.conformance:endpoint", env=QUICK) as running:
        yield running


@pytest.fixture
def base(server):
    return server[1]


def join(topic="room:X", ref="1", payload=None):
    return json.dumps([ref, ref, topic, "phx_join", payload or {}])


def test_a_conversation_as_captured_from_phoenix(base):
    async def scenario():
        session = LongPoll([base])
        opened = await session.get()
        assert opened.status == 200
        assert opened.headers["content-type"] == "application/json; charset=utf-8"
        assert opened.headers["access-control-allow-origin"] == "*"
        assert opened.headers["cache-control"] == "no-store"
        session.token = opened.json["token"]
        assert opened.json == {"messages": [], "status": 410, "token": session.token}
        assert await session.post(join()) == {"status": 200}
        polled = await session.get()
        assert polled.json == {
            "messages": ['["1","1","room:X","phx_reply",{"status":"ok","response":{"topic":"room:X"}}]'],
            "status": 200,
            "token": session.token,
        }
        assert await session.poll() == (204, [])
        lines = [json.dumps(["1", str(n), "room:X", "echo", {"n": n}]) for n in range(3)]
        assert await session.post("\r\n".join(lines)) == {"status": 200}
        status, messages = await session.poll()
        assert status == 200
        assert [message[1] for message in messages] == ["0", "1", "2"]

    run(scenario())


def test_any_other_content_type_is_one_message_and_v1_goes_that_way(base):
    async def scenario():
        session = await LongPoll([base], "vsn=1.0.0").open()
        joined = {"topic": "room:1", "event": "phx_join", "payload": {}, "ref": "1"}
        assert await session.post(json.dumps(joined, indent=1), "application/json") == {"status": 200}
        _, (reply,) = await session.poll()
        assert reply["payload"] == {"response": {"topic": "room:1"}, "status": "ok"}
        plain = await LongPoll([base]).open()
        assert await plain.post(join(), "text/plain") == {"status": 200}
        assert (await plain.poll())[0] == 200

    run(scenario())


def test_a_binary_push_is_a_line_of_base64_and_bytes_cannot_come_back(base):
    async def scenario():
        session = await LongPoll([base]).open()
        watcher = await PhoenixClient.connect(base)
        await watcher.join("room:bin")
        push = bytes([0, 1, 1, 8, 7]) + b"12room:binnew_msg" + b"\x00\xff"
        body = join("room:bin") + "\n" + base64.b64encode(push).decode()
        assert await session.post(body) == {"status": 200}
        opcode, data = await watcher.socket.recv()
        assert (opcode, data[-2:]) == (2, b"\x00\xff")
        assert [message[3] for message in (await session.poll())[1]] == ["phx_reply"]
        asked = bytes([0, 1, 1, 8, 3]) + b"13room:binbin" + b"\x00"
        assert await session.post(base64.b64encode(asked)) == {"status": 200}
        assert (await session.poll())[1] == [
            ["1", "1", "room:bin", "phx_error", {"reason": "channel_crash"}]
        ]

    run(scenario())


def test_a_waiting_poll_is_answered_as_soon_as_there_is_something(base):
    async def scenario():
        session = await LongPoll([base]).open()
        await session.post(join())
        await session.poll()
        poll = asyncio.create_task(session.poll())
        await asyncio.to_thread(broadcast, base, "room:X", "new_msg", {"n": 1})
        assert await poll == (200, [[None, None, "room:X", "new_msg", {"n": 1}]])

    run(scenario())


def test_what_comes_between_polls_waits(base):
    async def scenario():
        session = await LongPoll([base]).open()
        await session.post(join())
        await session.poll()
        for number in range(5):
            await asyncio.to_thread(broadcast, base, "room:X", "new_msg", {"n": number})
        got = []
        while len(got) < 5:
            got += (await session.poll())[1]
        assert [message[4]["n"] for message in got] == list(range(5))

    run(scenario())


def test_a_poll_whose_client_hung_up_loses_nothing(base):
    async def scenario():
        session = await LongPoll([base]).open()
        await session.post(join())
        await session.poll()
        for number in range(5):
            host, port = base.removeprefix("http://").split(":")
            _, writer = await open_connection(host, int(port))
            writer.write(f"GET {session.path()} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            await writer.drain()
            await http(base, "GET", "/unknown")  # the server has seen the poll
            writer.transport.abort()
            await http(base, "GET", "/unknown")  # and its end
            await asyncio.to_thread(broadcast, base, "room:X", "new_msg", {"n": number})
            assert await session.poll() == (200, [[None, None, "room:X", "new_msg", {"n": number}]])

    run(scenario())


def test_of_two_polls_the_later_one_gets_the_messages(base):
    async def scenario():
        session = await LongPoll([base]).open()
        await session.post(join())
        await session.poll()
        first = asyncio.create_task(session.poll())
        await http(base, "GET", "/unknown")
        second = asyncio.create_task(session.poll())
        assert await first == (204, [])
        await asyncio.to_thread(broadcast, base, "room:X", "new_msg", {})
        assert (await second)[0] == 200

    run(scenario())


@pytest.mark.parametrize("token", ["unknown", "SFMyNTY.x.y", "%ff", "a" * 9000])
def test_an_unknown_token_begins_a_new_session_or_is_gone(base, token):
    async def scenario():
        session = LongPoll([base])
        answer = await http(base, "GET", f"/socket/longpoll?vsn=2.0.0&token={token}")
        if token == "%ff":
            assert answer.status == 400
            return
        assert answer.json["status"] == 410
        assert answer.json["token"]
        posted = await http(base, "POST", f"/socket/longpoll?vsn=2.0.0&token={token}", body=b"[]")
        assert posted.json == {"status": 410}
        assert await session.post("[]") == {"status": 410}

    run(scenario())


def test_the_token_may_come_in_a_header(base):
    async def scenario():
        session = await LongPoll([base]).open()
        session.headers["x-phoenix-longpoll-token"] = session.token
        session.token = None
        assert await session.post(join()) == {"status": 200}
        assert (await session.get()).json["status"] == 200

    run(scenario())


@pytest.mark.parametrize("query", ["vsn=2.0.0&token=bad", "vsn=3.0.0", "vsn=2.0.0&format=msgpack"])
def test_who_is_refused_reads_so_in_the_body(base, query):
    async def scenario():
        answer = await http(base, "GET", f"/socket/longpoll?{query}")
        assert (answer.status, answer.json) == (200, {"status": 403})

    run(scenario())


def test_a_foreign_origin_is_refused_whatever_it_asks(base):
    async def scenario():
        session = await LongPoll([base]).open()
        session.headers["Origin"] = "http://evil.example"
        assert (await session.get()).json == {"status": 403}
        assert await session.post(join()) == {"status": 403}
        for method in ("OPTIONS", "PUT"):
            answer = await http(base, method, "/socket/longpoll?vsn=2.0.0", session.headers)
            assert (answer.json, "access-control-allow-methods" in answer.headers) == (
                {"status": 403},
                False,
            )
        session.headers["Origin"] = "http://localhost:1"
        assert await session.post(join()) == {"status": 200}

    run(scenario())


def test_options_and_other_methods(base):
    async def scenario():
        asked = {"Access-Control-Request-Headers": "x-phoenix-longpoll-token,content-type"}
        answer = await http(base, "OPTIONS", "/socket/longpoll?vsn=2.0.0", asked)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
        assert answer.headers["access-control-allow-methods"] == "get, post, options"
        assert answer.headers["access-control-max-age"] == "3600"
        for method in ("PUT", "DELETE", "PATCH"):
            answer = await http(base, method, "/socket/longpoll?vsn=2.0.0")
            assert (answer.status, answer.body) == (400, b"")

    run(scenario())


def test_lines_beyond_the_hundredth_are_dropped(base):
    async def scenario():
        session = await LongPoll([base]).open()
        lines = [join()] + [json.dumps(["1", str(n), "room:X", "echo", {}]) for n in range(2, 150)]
        assert await session.post("\n".join(lines)) == {"status": 200}
        got = []
        while (answer := await session.poll())[0] == 200:
            got += answer[1]
        assert [message[1] for message in got] == [str(n) for n in range(1, 101)]

    run(scenario())


@pytest.mark.parametrize(
    "body",
    [b"[1]", b"[", b"not base64!", b"AAAA", b"\xff", b'["1","1","t","e",1e999]', b"[" + b" " * 1_000_001],
)
def test_what_cannot_be_decoded_ends_the_session_only(server, body):
    async def scenario():
        bystander = await LongPoll([server[1]]).open()
        await bystander.post(join())
        session = await LongPoll([server[1]]).open()
        assert await session.post(body) == {"status": 408}
        assert await session.post(join()) == {"status": 410}
        assert (await session.get()).json["status"] == 410
        assert (await bystander.poll())[0] == 200

    before = len(server[0].log())
    run(scenario())
    assert "Traceback" not in server[0].log()[before:]


def test_a_disconnect_of_the_user_ends_the_session(base):
    async def scenario():
        session = await LongPoll([base], "vsn=2.0.0&user_id=7").open()
        await session.post(join())
        await session.poll()
        poll = asyncio.create_task(session.get())
        await asyncio.to_thread(broadcast, base, "users:7", "disconnect", {})
        answer = (await poll).json
        assert answer["status"] == 410
        assert answer["token"] != session.token, "a poll starts a new session"
        assert await session.post(join()) == {"status": 410}

    run(scenario())


def test_a_session_nobody_polls_ends_and_its_channels_with_it(server):
    async def scenario():
        session = await LongPoll([server[1]], "vsn=2.0.0&user_id=silent").open()
        await session.post(join("presence:silence"))
        watcher = await PhoenixClient.connect(server[1], "user_id=w")
        await watcher.join("presence:silence")
        while "silent" not in (await watcher.next())[4].get("leaves", {}):
            pass
        assert (await session.get()).json["status"] == 410

    run(scenario())


def test_sessions_are_bounded_and_a_client_is_told_to_come_later(tmp_path):
    with serve(tmp_path, "examples.conformance:endpoint", env={"MESH_LONGPOLL__MAX_SESSIONS": "2"}) as (
        _,
        url,
    ):

        async def scenario():
            # With an id: what it is subscribed to is waited for, and the others come meanwhile.
            sessions = [LongPoll([url], f"vsn=2.0.0&user_id={number}") for number in range(10)]
            answers = await asyncio.gather(*(each.get() for each in sessions))
            assert sorted(each.json["status"] for each in answers) == [410] * 2 + [500] * 8
            assert (await LongPoll([url]).get()).json == {"status": 500}

        run(scenario())


def test_a_client_that_does_not_poll_is_ended_when_too_much_waits(tmp_path):
    env = {"MESH_GATEWAY__MAX_UNSENT_BYTES": "10000"}
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            session = await LongPoll([url]).open()
            lines = [join()] + [
                json.dumps(["1", str(n), "room:X", "echo", {"x": "x" * 500}]) for n in range(50)
            ]
            await session.post("\n".join(lines))
            while (answer := (await session.get()).json)["status"] == 200:
                pass
            assert answer["status"] == 410

        run(scenario())
        process.wait_for("does not poll")


def test_the_verbs_of_the_api_over_long_poll(base):
    async def scenario():
        client = await LongPollClient.connect(base, "user_id=9")
        assert await client.join("room:lp") == ("ok", {"topic": "room:lp"})
        assert await client.push("room:lp", "echo", {"a": 1}) == ("ok", {"a": 1})
        assert await client.push("room:lp", "fail", {}) == ("error", {"reason": "bad"})
        assert await client.join("room:private") == ("error", {"reason": "unauthorized"})
        client.cast("room:lp", "push_me", {"n": 1})
        assert (await client.event("pushed"))[4] == {"n": 1}
        client.cast("room:lp", "intercept_me", {"k": 1})
        assert (await client.event("intercept_me"))[4] == {"k": 1, "to": "9"}
        client.cast("room:lp", "crash", {})
        assert (await client.event("phx_error"))[4] == {"reason": "channel_crash"}

    run(scenario())
