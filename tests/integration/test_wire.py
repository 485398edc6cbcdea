"""The bytes as captured from Phoenix, against a real server."""

import asyncio
import json

import pytest

from tests.support.http import broadcast, request
from tests.support.websocket import (
    BINARY,
    TEXT,
    PhoenixClient,
    RawWebSocket,
    Refused,
    frame,
    run,
)

UNMATCHED = {"status": "error", "response": {"reason": "unmatched topic"}}


def test_a_conversation_as_captured_from_phoenix(base):
    async def scenario():
        client = await PhoenixClient.connect(base, "user_id=7")
        for said, answers in [
            ([None, "1", "phoenix", "heartbeat", {}], [[None, "1", "phoenix", "ok", {}]]),
            (["1", "1", "room:X", "phx_join", {}], [["1", "1", "room:X", "ok", {"topic": "room:X"}]]),
            (["2", "2", "room:private", "phx_join", {}],
             [["2", "2", "room:private", "error", {"reason": "unauthorized"}]]),
            (["3", "3", "nope:x", "phx_join", {}], [[None, "3", "nope:x", "error", {"reason": "unmatched topic"}]]),
            (["1", "4", "room:X", "echo", {"o": 1}], [["1", "4", "room:X", "ok", {"o": 1}]]),
            (["1", "5", "room:X", "echo", [1, "two", None]], [["1", "5", "room:X", "ok", [1, "two", None]]]),
            (["1", "6", "room:X", "fail", {}], [["1", "6", "room:X", "error", {"reason": "bad"}]]),
            ([None, 0, "room:X", "echo", 7], [["1", 0, "room:X", "ok", 7]]),
        ]:  # fmt: skip
            client.say(*said)
            for join_ref, ref, topic, status, response in answers:
                expected = [join_ref, ref, topic, "phx_reply", {"status": status, "response": response}]
                assert await client.next() == expected
        client.say("1", "7", "room:X", "new_msg", {"n": 1})
        assert await client.next() == [None, None, "room:X", "new_msg", {"n": 1}]
        client.say("1", "8", "room:X", "push_me", {"n": 2})
        assert await client.next() == ["1", None, "room:X", "pushed", {"n": 2}]
        client.say("1", "9", "room:X", "intercept_me", {"k": 1})
        assert await client.next() == ["1", None, "room:X", "intercept_me", {"k": 1, "to": "7"}]
        client.say("1", "10", "room:X", "noreply", {})
        client.say("1", "11", "room:X", "from", {})
        await client.silent()
        client.say("1", "12", "room:X", "stop", {})
        assert await client.next() == ["1", "12", "room:X", "phx_reply", {"status": "ok", "response": {}}]
        assert await client.next() == ["1", "1", "room:X", "phx_close", {}]
        client.say("1", "13", "room:X", "echo", {})
        assert await client.next() == [None, "13", "room:X", "phx_reply", UNMATCHED]
        client.close()

    run(scenario())


def test_a_crash_ends_one_channel_only(base):
    async def scenario():
        client = await PhoenixClient.connect(base)
        await client.join("room:crash")
        await client.join("room:other")
        for event in ("crash", "no_such_event", "phx_reply"):
            client.cast("room:crash", event)
            error = await client.next()
            ref = client.join_refs["room:crash"]
            assert error == [ref, ref, "room:crash", "phx_error", {"reason": "channel_crash"}]
            assert await client.push("room:other", "echo", {"a": 1}) == ("ok", {"a": 1})
            assert await client.join("room:crash") == ("ok", {"topic": "room:crash"})
        client.close()

    run(scenario())


def test_a_leave_is_answered_and_then_closed(base):
    async def scenario():
        client = await PhoenixClient.connect(base)
        client.say("1", "1", "room:leave", "phx_join", {})
        client.say("1", "2", "room:leave", "phx_leave", {})
        client.say("3", "3", "room:leave", "phx_join", {})
        seen = [await client.next() for _ in range(4)]
        frames = [(each[0], each[1], each[3]) for each in seen]
        assert frames[:2] == [("1", "1", "phx_reply"), ("1", "2", "phx_reply")]
        # The new join may still find the old channel, or not: then its close is told after the reply.
        assert sorted(frames[2:]) == [("1", "1", "phx_close"), ("3", "3", "phx_reply")]
        client.say("9", "10", "room:never", "phx_leave", {})
        assert (await client.next())[:3] == ["9", "10", "room:never"]
        client.say("1", "11", "room:leave", "phx_leave", {})  # stale: ignored
        await client.silent()
        client.close()

    run(scenario())


def test_a_second_join_is_answered_before_the_first_is_closed(base):
    async def scenario():
        client = await PhoenixClient.connect(base)
        client.say("1", "1", "room:dup", "phx_join", {})
        client.say("2", "2", "room:dup", "phx_join", {})
        assert [(await client.next())[:4] for _ in range(3)] == [
            ["1", "1", "room:dup", "phx_reply"],
            ["2", "2", "room:dup", "phx_reply"],
            ["1", "1", "room:dup", "phx_close"],
        ]
        client.cast("room:dup", "new_msg", {"n": 1})
        assert await client.next() == [None, None, "room:dup", "new_msg", {"n": 1}]
        await client.silent()
        client.close()

    run(scenario())


def test_the_hundred_and_first_channel_is_refused(base):
    async def scenario():
        client = await PhoenixClient.connect(base)
        for number in range(100):
            assert (await client.join(f"room:many{number}"))[0] == "ok"
        assert await client.join("room:one_more") == ("error", {"reason": "too many channels joined"})
        assert (await client.join("room:many7"))[0] == "ok"
        client.close()

    run(scenario())


def test_fifty_joins_in_one_packet_are_all_answered(base):
    """What phoenix.js sends when it has connected again."""

    async def scenario():
        client = await PhoenixClient.connect(base)
        topics = [f"room:back{number}" for number in range(50)]
        frames = [
            frame(TEXT, json.dumps([topic, topic, topic, "phx_join", {}]).encode()) for topic in topics
        ]
        client.socket.send_raw(b"".join(frames))
        answers = [await client.next() for _ in topics]
        assert sorted(each[2] for each in answers) == sorted(topics)
        assert {each[4]["status"] for each in answers} == {"ok"}
        client.close()

    run(scenario())


def test_binary_frames_as_captured(base):
    async def scenario():
        client = await PhoenixClient.connect(base)
        await client.join("room:bin")
        socket = client.socket

        def push(event, data, ref=b"77"):
            join_ref = client.join_refs["room:bin"].encode()
            fields = (join_ref, ref, b"room:bin", event)
            socket.send_frame(BINARY, bytes([0, *map(len, fields)]) + b"".join(fields) + data)

        push(b"bin", b"\x00\xff")
        assert await socket.recv() == (BINARY, b"\x01\x01\x02\x08\x02" + b"177room:binok" + b"\x00\xff")
        push(b"new_msg", b"\x01\x02")
        assert await socket.recv() == (BINARY, b"\x02\x08\x07" + b"room:binnew_msg" + b"\x01\x02")
        push(b"push_me", b"\x03")
        assert await socket.recv() == (BINARY, b"\x00\x01\x08\x06" + b"1room:binpushed" + b"\x03")
        push(b"fail", b"\x03")
        opcode, text = await socket.recv()
        assert (opcode, json.loads(text)[1]) == (TEXT, "77")
        socket.send_frame(BINARY, b"\x00\x01\x02\x06\x03" + b"177room:Zbin")
        assert await client.next() == [None, "77", "room:Z", "phx_reply", UNMATCHED]
        client.close()

    run(scenario())


def test_v1_messages_are_objects_in_text_or_binary_frames(base):
    async def scenario():
        socket = await RawWebSocket.connect(f"{base}/socket/websocket")
        socket.send_text('{"topic":"room:v1","event":"phx_join","payload":{},"ref":"1","extra":1}')
        opcode, data = await socket.recv()
        assert json.loads(data) == {
            "topic": "room:v1", "event": "phx_reply", "ref": "1",
            "payload": {"status": "ok", "response": {"topic": "room:v1"}},
        }  # fmt: skip
        socket.send_frame(BINARY, b'{"topic":"room:v1","event":"new_msg","payload":{"n":1},"ref":2}')
        opcode, data = await socket.recv()
        assert opcode == TEXT
        assert json.loads(data) == {
            "topic": "room:v1",
            "event": "new_msg",
            "payload": {"n": 1},
            "ref": None,
        }
        socket.send_text('{"topic":"room:v1","event":"x","payload":{}}')
        assert await socket.recv_close() == 1011

    run(scenario())


@pytest.mark.parametrize(
    ("query", "headers", "method", "status", "body"),
    [
        ("vsn=2.0.0&token=bad", {}, "GET", 403, b""),
        ("vsn=2.1.0", {}, "GET", 403, b""),
        ("vsn=2.0", {}, "GET", 403, b""),
        ("vsn=", {}, "GET", 403, b""),
        ("vsn[]=2.0.0", {}, "GET", 403, b""),
        ("vsn=2.0.0", {"Origin": "http://foreign.example"}, "GET", 403, b""),
        ("vsn=2.0.0", {"Upgrade": None, "Connection": "close"}, "GET", 400,
         b"'connection' header must contain 'upgrade', got [\"close\"]"),
        ("vsn=2.0.0", {"Sec-WebSocket-Version": "12"}, "GET", 400,
         b"'sec-websocket-version' header must equal '13', got [\"12\"]"),
        ("vsn=2.0.0", {"Sec-WebSocket-Key": None}, "GET", 400, b"'sec-websocket-key' header is absent"),
        ("vsn=2.0.0", {}, "POST", 400, b""),
        ("vsn=2.0.0", {}, "PUT", 400, b""),
    ],
)  # fmt: skip
def test_refusals_are_http_responses(base, query, headers, method, status, body):
    async def scenario():
        if method != "GET":
            headers["Content-Length"] = "0"
        with pytest.raises(Refused) as caught:
            await RawWebSocket.connect(f"{base}/socket/websocket?{query}", headers, method)
        assert (caught.value.status, caught.value.body) == (status, body)

    run(scenario())


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "http://localhost:1"}, {"Sec-WebSocket-Protocol": "phoenix"},
     {"Sec-WebSocket-Extensions": "permessage-deflate"}],
)  # fmt: skip
@pytest.mark.parametrize("vsn", ["2.0.0", "2.0.9", "2.0.0%2Bbuild"])
def test_handshakes_that_are_accepted(base, headers, vsn):
    async def scenario():
        socket = await RawWebSocket.connect(f"{base}/socket/websocket?vsn={vsn}", headers)
        client = PhoenixClient(socket)
        await client.silent()
        client.close()

    run(scenario())


def test_a_disconnect_broadcast_closes_the_users_sockets_and_no_others(base):
    async def scenario():
        mine = [await PhoenixClient.connect(base, "user_id=42") for _ in range(2)]
        other = await PhoenixClient.connect(base, "user_id=420")
        assert await asyncio.to_thread(broadcast, base, "users:42", "something_else", {}) == (204, "")
        await mine[0].silent()
        assert await asyncio.to_thread(broadcast, base, "users:42", "disconnect", {}) == (204, "")
        for client in mine:
            assert await client.socket.recv_close() == 1001
            assert await client.socket.eof()
        await other.silent()
        other.close()

    run(scenario())


def test_a_post_broadcasts_and_an_invalid_one_is_explained(base):
    async def scenario():
        client = await PhoenixClient.connect(base)
        await client.join("room:http")
        assert await asyncio.to_thread(broadcast, base, "room:http", "news", {"a": 1}) == (204, "")
        assert await client.next() == [None, None, "room:http", "news", {"a": 1}]
        client.close()

    run(scenario())
    for topic, payload, word in (("room:http", [1], "object"), ("$nodes", {}, "reserved")):
        status, body = broadcast(base, topic, "e", payload)
        assert status == 400
        assert word in body


def test_unknown_paths_are_404(base):
    for path in ("/", "/socket", "/socket/nothing"):
        assert request(base + path)[0] == 404


def test_a_client_that_does_not_read_is_closed_and_others_receive_every_message(base):
    async def scenario():
        slow = await PhoenixClient.connect(base)
        slow.socket.writer.transport.pause_reading()
        await_join = slow.ref()
        slow.say(await_join, await_join, "room:slow", "phx_join", {})
        reader = await PhoenixClient.connect(base)
        writer = await PhoenixClient.connect(base)
        await reader.join("room:slow")
        await writer.join("room:slow")
        payload = {"pad": "x" * 100_000}
        for number in range(200):
            writer.cast("room:slow", "new_msg", {"n": number, **payload})
            await writer.event("new_msg")
            assert (await reader.event("new_msg"))[4]["n"] == number
        writer.close()
        reader.close()
        slow.close()

    run(scenario())


def test_a_slow_client_is_logged(conformance):
    process, base = conformance
    test_a_client_that_does_not_read_is_closed_and_others_receive_every_message(base)
    process.wait_for("slow client closed")
