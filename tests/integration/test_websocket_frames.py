"""WebSocket frames against a real server: violations, closes, pings, fragments."""

import json

import pytest

from tests.support.websocket import (
    BINARY,
    CLOSE,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    PhoenixClient,
    RawWebSocket,
    frame,
    open_connection,
    run,
)

WS = "/socket/websocket?vsn=2.0.0"


@pytest.mark.parametrize(
    ("send", "code"),
    [
        (lambda s: s.send_text("garbage"), 1011),
        (lambda s: s.send_text("[1,2,3,4]"), 1011),
        (lambda s: s.send_text('["1","1","t","e",{"a":1e999}]'), 1011),
        (lambda s: s.send_text("[" * 100_000), 1011),
        (
            lambda s: s.send_text(
                '["1","1","room:x","echo",' + '{"a":' * 50_000 + "1" + "}" * 50_000 + "]"
            ),
            1011,
        ),
        (lambda s: s.send_text('["1","1","room:x","echo",' + "[" * 600 + "]" * 600 + "]"), 1011),
        (lambda s: s.send_text(f'["1",{10**30},"room:bystander","echo",{{}}]'), 1011),
        (lambda s: s.send_text('["1",' + "[" * 900 + "]" * 900 + ',"room:bystander","echo",{}]'), 1011),
        (lambda s: s.send_frame(BINARY, b"\x01\x00\x00"), 1011),
        (lambda s: s.send_frame(BINARY, b"\x00\x09\x09\x09\x09abc"), 1011),
        (lambda s: s.send_frame(BINARY, b""), 1011),
        (lambda s: s.send_frame(TEXT, b'["\xff"]'), 1007),
        (lambda s: s.send_frame(TEXT, b"x", rsv=4), 1002),
        (lambda s: s.send_frame(5, b"x"), 1002),
        (lambda s: s.send_frame(0, b"x"), 1002),
        (lambda s: s.send_frame(TEXT, b"x", masked=False), 1002),
        (lambda s: s.send_frame(PING, b"x" * 126), 1002),
        (lambda s: s.send_frame(CLOSE, b"\x03"), 1002),
        (lambda s: s.send_frame(TEXT, b"", length=1_000_001), 1009),
        (lambda s: s.send_frame(TEXT, b"x" * 1_000_001), 1009),
    ],
)
def test_an_invalid_message_closes_its_connection_with_the_right_code_and_no_other(conformance, send, code):
    process, base = conformance

    async def scenario():
        bystander = await PhoenixClient.connect(base)
        await bystander.join("room:bystander")
        offender = await PhoenixClient.connect(base)
        await offender.join("room:bystander")
        send(offender.socket)
        assert await offender.socket.recv_close() == code
        assert await offender.socket.eof()
        assert await bystander.push("room:bystander", "echo", {"a": 1}) == ("ok", {"a": 1})
        assert bystander.messages == []
        bystander.close()

    before = process.log().count("Traceback")
    run(scenario())
    assert process.log().count("Traceback") == before


@pytest.mark.parametrize(("sent", "answered"), [(1000, 1000), (1001, 1001), (4000, 4000), (None, None)])
def test_a_clients_close_is_answered_with_its_code(base, sent, answered):
    async def scenario():
        socket = await RawWebSocket.connect(base + WS)
        socket.send_frame(CLOSE, sent.to_bytes(2, "big") + b"bye" if sent else b"")
        assert await socket.recv_close() == answered
        assert await socket.eof()

    run(scenario())


def test_a_ping_is_answered_between_fragments(base):
    async def scenario():
        socket = await RawWebSocket.connect(base + WS)
        message = json.dumps([None, "1", "phoenix", "heartbeat", {}]).encode()
        socket.send_frame(TEXT, message[:10], fin=False)
        socket.send_frame(PING, b"are you there")
        socket.send_frame(0, message[10:])
        assert await socket.recv() == (PONG, b"are you there")
        assert (await socket.recv())[0] == TEXT
        socket.close()

    run(scenario())


def test_frames_sent_with_the_handshake_are_read(base):
    async def scenario():
        host, port = base.removeprefix("http://").split(":")
        reader, writer = await open_connection(host, int(port))
        lines = [f"GET {WS} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in HANDSHAKE.items())]
        heartbeat = frame(TEXT, b'[null,"1","phoenix","heartbeat",{}]')
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + heartbeat + heartbeat)
        socket = RawWebSocket(reader, writer)
        await reader.readuntil(b"\r\n\r\n")
        assert (await socket.recv())[0] == TEXT
        assert (await socket.recv())[0] == TEXT
        socket.close()

    run(scenario())
