"""A reply of None is null, a reply without payload is {}: on every serializer, transport and client."""

import json
from contextlib import AsyncExitStack

import msgspec
import pytest

from mesh import Channel, Endpoint, Mount, Reply, SocketHandler, error, ok, on, refuse
from mesh.client import Client, PushError
from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from mesh.testing import ChannelCase
from tests.support.longpoll import LongPollClient
from tests.support.websocket import PhoenixClient, RawWebSocket, run
from tests.support.zeromq import ZeroMQClient

ANSWERS = {
    "ok()": ok(),
    "ok(None)": ok(None),
    "error()": error(),
    "error(None)": error(None),
    "Reply()": Reply(),
    "Reply(None)": Reply(None, "maybe"),
}
EXPECTED = {
    "ok()": ("ok", {}),
    "ok(None)": ("ok", None),
    "error()": ("error", {}),
    "error(None)": ("error", None),
    "Reply()": ("ok", {}),
    "Reply(None)": ("maybe", None),
}


class NullChannel(Channel):
    def join(self, topic, payload):
        match topic.partition(":")[2]:
            case "none":
                return ok(None)
            case "empty":
                return ok()
            case "refused":
                return error(None)
            case "refused empty":
                return refuse()
        return None

    @on("echo")
    def echo(self, payload):
        return ok(payload)

    @on("answer")
    def answer(self, payload):
        return ANSWERS[payload]

    @on("nothing")
    def nothing(self, payload):
        return None

    @on("late")
    def late(self, payload):
        self.send((self.socket_ref(), payload))

    @on("at once")
    def at_once(self, payload):
        self.reply(None)

    @on("at once, empty")
    def at_once_empty(self, payload):
        self.reply()

    @on("stop")
    def stop_with(self, payload):
        self.stop(reply=ok(None))

    @on("push")
    def push_none(self, payload):
        self.push("pushed", None)

    def handle_info(self, message):
        ref, payload = message
        self.reply(payload, ref=ref)


class User(SocketHandler):
    channels = {"null:*": NullChannel}


endpoint = Endpoint({"/socket": Mount(User, longpoll=True)})


def with_node(tmp_path, scenario):
    async def running():
        settings = build(
            {
                "gateway": {"port": 0},
                "zeromq": {"bind": f"ipc://{tmp_path}/clients"},
                "security": {"secret_key": "x" * 64},
            }
        )
        async with AsyncExitStack() as stack:
            node = await EmbeddedNode.start(stack, endpoint, settings)
            await scenario(node.gateway.addresses[0], node.gateway.zeromq_address)

    run(running())


@pytest.mark.parametrize("kind", [PhoenixClient, LongPollClient, ZeroMQClient])
def test_over_every_transport(tmp_path, kind):
    async def scenario(url, zeromq):
        client = await kind.connect(zeromq if kind is ZeroMQClient else url)
        assert await client.join("null:none") == ("ok", None)
        assert await client.join("null:empty") == ("ok", {})
        assert await client.join("null:refused") == ("error", None)
        assert await client.join("null:refused empty") == ("error", {})
        assert await client.join("null:1") == ("ok", {})
        for text, expected in EXPECTED.items():
            assert await client.push("null:1", "answer", text) == expected, text
        for event, payload, response in (
            ("echo", None, None),
            ("echo", {}, {}),
            ("late", None, None),
            ("at once", 1, None),
            ("at once, empty", 1, {}),
        ):
            ref = client.ref()
            client.say(client.join_refs["null:1"], ref, "null:1", event, payload)
            assert await client.answer(ref) == ("ok", response), event
        client.cast("null:1", "nothing")
        await client.silent()
        assert await client.push("null:1", "stop") == ("ok", None)

    with_node(tmp_path, scenario)


async def v1(socket, ref, event, payload):
    socket.send_text(json.dumps({"topic": "null:1", "event": event, "payload": payload, "ref": ref}))
    return json.loads((await socket.recv())[1])["payload"]


async def msgpack(socket, ref, event, payload):
    socket.send_binary(msgspec.msgpack.encode(["1", ref, "null:1", event, payload]))
    return msgspec.msgpack.decode((await socket.recv())[1])[4]


@pytest.mark.parametrize(("query", "ask"), [("vsn=1.0.0", v1), ("vsn=2.0.0&format=msgpack", msgpack)])
def test_on_the_other_serializers(tmp_path, query, ask):
    async def scenario(url, _zeromq):
        socket = await RawWebSocket.connect(f"{url}/socket/websocket?{query}")
        assert await ask(socket, "1", "phx_join", {}) == {"status": "ok", "response": {}}
        assert await ask(socket, "2", "echo", None) == {"status": "ok", "response": None}
        assert await ask(socket, "3", "echo", {}) == {"status": "ok", "response": {}}
        for number, (text, (status, response)) in enumerate(EXPECTED.items(), 4):
            answer = await ask(socket, str(number), "answer", text)
            assert answer == {"status": status, "response": response}, text

    with_node(tmp_path, scenario)


@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_in_the_python_client(tmp_path, format):
    async def scenario(url, zeromq):
        for address in (url.replace("http", "ws") + "/socket", zeromq):
            async with Client(address, format=format) as client:
                room = await client.join("null:none")
                assert room.response is None
                assert await room.push("echo", None) is None
                assert await room.push("echo") == {}
                with pytest.raises(PushError) as caught:
                    await room.push("answer", "error(None)")
                assert caught.value.response is None
                await room.leave()

    with_node(tmp_path, scenario)


@pytest.mark.parametrize("serializer", ["v1_json", "v2_json", "v2_msgpack"])
def test_in_a_channel_case(serializer):
    case = ChannelCase(endpoint)
    try:
        socket = case.socket(serializer=serializer)
        assert socket.join("null:none").reply is None
        channel = socket.join("null:1")
        assert channel.reply == {}
        assert channel.assert_reply(channel.push("echo", None)) is None
        assert channel.assert_reply(channel.push("echo")) == {}
        for text, (status, response) in EXPECTED.items():
            assert channel.assert_reply(channel.push("answer", text), status) == response
        channel.push("push")
        assert "want a dict or bytes" in str(channel.assert_crashed())
    finally:
        case.close()
