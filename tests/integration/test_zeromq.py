"""Clients over plain ZeroMQ: the same channels, the same answers."""

import asyncio
import json
import os
import signal
import socket

import msgspec
import pytest

from tests.support import scenarios
from tests.support.http import broadcast
from tests.support.processes import ORDER, Process, cluster, serve
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, run
from tests.support.zeromq import Closed, Dealer, ZeroMQClient, closed


@pytest.fixture(scope="module")
def conformance(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {"MESH_ZEROMQ__BIND": f"ipc://{directory}/clients"}
    with serve(directory, "examples.conformance:endpoint", env=env) as (process, url):
        yield process, url, env["MESH_ZEROMQ__BIND"]


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {"MESH_ZEROMQ__BIND": "tcp://127.0.0.1:*", "MESH_ZEROMQ__MAX_CLIENTS": "30", **ORDER}
    with serve(directory, "tests.support.apps:endpoint", env=env) as (process, url):
        yield process, url, process.wait_for(r"zeromq\s+(\S+)")[1]


HTTP_ONLY = {
    scenarios.assigns_are_copied_into_each_channel,  # sends headers
    scenarios.five_thousand_messages_arrive_once_and_in_order,  # waits for its TCP connection
}
SCENARIOS = [each for each in scenarios.SCENARIOS if each not in HTTP_ONLY]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_the_scenarios_of_the_other_transports(apps, scenario, monkeypatch):
    monkeypatch.setattr(scenarios, "PhoenixClient", ZeroMQClient)
    run(scenario(apps[2], apps[2]))


def test_a_conversation(conformance):
    async def scenario():
        client = await ZeroMQClient.connect(conformance[2], "user_id=7")
        browser = await PhoenixClient.connect(conformance[1])
        await browser.join("room:1")
        assert await client.join("room:1") == ("ok", {"topic": "room:1"})
        assert await client.join("room:private") == ("error", {"reason": "unauthorized"})
        assert await client.join("nope:1") == ("error", {"reason": "unmatched topic"})
        assert await client.push("room:1", "echo", {"a": 1}) == ("ok", {"a": 1})
        client.cast("room:1", "new_msg", {"n": 1})
        assert (await client.event("new_msg"))[4] == (await browser.event("new_msg"))[4] == {"n": 1}
        client.cast("room:1", "intercept_me", {"k": 1})
        assert (await client.event("intercept_me"))[4] == {"k": 1, "to": "7"}
        client.cast("room:1", "crash", {})
        assert (await client.event("phx_error"))[4] == {"reason": "channel_crash"}
        await client.join("presence:1")
        assert list((await client.event("presence_state"))[4]) == ["7"]

    run(scenario())


def test_bytes_and_msgpack(conformance):
    async def scenario():
        client = await ZeroMQClient.connect(conformance[2])
        await client.join("room:bin")
        client.socket.send(b"B", bytes([0, 1, 1, 8, 3]) + b"19room:binbin\x00\xff")
        kind, data = await client.socket.next(b"B", b"T")
        assert (kind, data) == (b"B", bytes([1, 1, 1, 8, 2]) + b"19room:binok\x00\xff")
        dealer = Dealer(conformance[2])
        await dealer.open(format="msgpack")
        dealer.send(b"B", msgspec.msgpack.encode(["1", "1", "room:1", "phx_join", {}]))
        _, data = await dealer.next(b"B")
        assert msgspec.msgpack.decode(data)[3:] == [
            "phx_reply",
            {"status": "ok", "response": {"topic": "room:1"}},
        ]

    run(scenario())


@pytest.mark.parametrize(
    ("opening", "status"),
    [
        ({"path": "/socket", "params": {"token": "bad", "vsn": "2.0.0"}}, 403),
        ({"path": "/socket", "params": {"vsn": "3.0.0"}}, 403),
        ({"path": "/other", "params": {}}, 404),
        ({"params": {}}, 400),
        ({"path": "/socket", "parameters": {}}, 400),
        ([1], 400),
        ("{", 400),
        pytest.param(" " * 65_537, 413, id="more than gateway.max_head_bytes"),
    ],
)
def test_who_is_refused_and_why(conformance, opening, status):
    async def scenario():
        dealer = Dealer(conformance[2])
        text = opening if isinstance(opening, str) else json.dumps(opening)
        dealer.send(b"O", text.encode())
        _, data = await dealer.next(b"R")
        assert json.loads(data)["status"] == status

    run(scenario())


def test_an_application_that_raises_and_path_variables(apps):
    async def scenario():
        with pytest.raises(Closed) as caught:
            await Dealer(apps[2]).open(connect="raise")
        assert caught.value.content == {"status": 500, "reason": "connect raised"}
        client = ZeroMQClient(dealer := Dealer(apps[2]))
        await dealer.open("/tenants/acme/socket", tenant="other")
        await client.join("info:1")
        assert (await client.push("info:1", "assign", {}))[1]["params"] == {"tenant": "acme"}

    run(scenario())


def test_a_client_the_gateway_does_not_know_is_told_to_open(conformance):
    async def scenario():
        dealer = Dealer(conformance[2])
        for kind in (b"T", b"B", b"P"):
            dealer.send(kind, b"x")
            _, data = await dealer.next(b"C")
            assert json.loads(data)["code"] == 4000

    run(scenario())


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ((b"T", b"{"), 1011),
        ((b"B", b"\xff"), 1011),
        ((b"T", b"[" + b" " * 1_000_000), 1009),
        ((b"X", b""), 1002),
        ((b"", b""), 1002),
        ((b"T", b"a", b"b"), 1002),
    ],
)
def test_garbage_costs_its_sender_only(conformance, frames, code):
    async def scenario():
        bystander = await ZeroMQClient.connect(conformance[2])
        await bystander.join("room:1")
        dealer = Dealer(conformance[2])
        await dealer.open()
        dealer.send(*frames)
        _, data = await dealer.next(b"C")
        assert json.loads(data)["code"] == code
        assert await bystander.push("room:1", "echo", {}) == ("ok", {})

    before = len(conformance[0].log())
    run(scenario())
    assert "Traceback" not in conformance[0].log()[before:]


def test_bytes_that_are_no_zeromq_at_all(apps):
    async def scenario():
        host, port = apps[2].removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port))) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\n\r\n" * 10)
            client = await ZeroMQClient.connect(apps[2])
            assert await client.join("echo:1") == ("ok", {})

    run(scenario())


def test_a_disconnect_of_the_user_and_opening_again(conformance):
    async def scenario():
        client = await ZeroMQClient.connect(conformance[2], "user_id=9")
        await client.join("room:1")
        await asyncio.to_thread(broadcast, conformance[1], "users:9", "disconnect", {})
        assert (await closed(client))["code"] == 1001
        await client.socket.open(user_id="9")
        assert (await client.join("room:1"))[0] == "ok"
        await client.socket.open(user_id="10")  # again, without closing: the first session is over
        assert await client.push("room:1", "echo", {}) == ("error", {"reason": "unmatched topic"})

    run(scenario())


def test_pings_are_answered_and_who_is_silent_is_closed(impatient):
    async def scenario():
        silent, busy = await ZeroMQClient.connect(impatient[2]), await ZeroMQClient.connect(impatient[2])
        await silent.join("room:silent")

        closing = asyncio.create_task(closed(silent))
        while not closing.done():
            busy.socket.send(b"P", b"are you there")
            while (message := await busy.socket.recv())[1] != b"are you there":
                assert message[0] != b"C", message
            await asyncio.sleep(0.05)
        assert await closing == {"code": 1002, "reason": "idle"}

    run(scenario())


def test_a_gateway_that_stood_still_closes_nobody_who_spoke_meanwhile(tmp_path):
    env = {"MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "3", "MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            clients = [
                await PhoenixClient.connect(url),
                await ZeroMQClient.connect(env["MESH_ZEROMQ__BIND"]),
            ]
            os.kill(process.pid, signal.SIGSTOP)
            try:
                refs = [client.cast("phoenix", "heartbeat", {}) for client in clients]
                await asyncio.sleep(6)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            for client, ref in zip(clients, refs, strict=True):
                assert (await client.next())[1] == ref

        run(scenario())


def test_a_client_whose_connection_ends_ends_its_channels_before_any_time_out(apps):
    async def scenario():
        watcher = await PhoenixClient.connect(apps[1])
        await watcher.join("watch:ends")
        client = await ZeroMQClient.connect(apps[2])
        await client.join("info:gone")
        client.socket.socket.close(0)
        ended = (await watcher.event("ended"))[4]
        assert ended == {"topic": "info:gone", "reason": "closed"}

    run(scenario())


def test_clients_are_bounded(apps):
    async def scenario():
        refused = 0
        for _ in range(40):
            dealer = Dealer(apps[2])
            dealer.send(b"O", b'{"path":"/socket","params":{"vsn":"2.0.0"}}')
            kind, data = await dealer.next(b"O", b"R")
            refused += kind == b"R"
            assert kind == b"O" or json.loads(data) == {
                "status": 503,
                "reason": "too many clients; come later",
            }
        assert refused >= 10

    run(scenario())


def test_a_client_that_does_not_read_is_closed_and_the_others_go_on(tmp_path):
    env = {
        "MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients",
        "MESH_ZEROMQ__HIGH_WATER_MARK": "10",
        "MESH_GATEWAY__MAX_UNSENT_BYTES": "2000000",
    }
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            address = env["MESH_ZEROMQ__BIND"]
            slow = ZeroMQClient(dealer := Dealer(address, RCVHWM=1))
            await dealer.open()
            await slow.join("room:1")
            sender = await PhoenixClient.connect(url)
            await sender.join("room:1")
            for number in range(300):
                sender.cast("room:1", "new_msg", {"n": number, "x": "x" * 50_000})
                assert (await sender.event("new_msg"))[4]["n"] == number
            await until(lambda: "slow client closed" in process.log())

        run(scenario())


def test_a_gateway_that_stops_says_so(tmp_path):
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, _):

        async def scenario():
            client = await ZeroMQClient.connect(env["MESH_ZEROMQ__BIND"])
            await client.join("room:1")
            process.popen.terminate()
            assert (await closed(client))["code"] == 1012

        run(scenario())
        assert process.popen.wait(PATIENCE) == 0


def test_an_address_beyond_this_machine_is_refused(tmp_path):
    env = {"MESH_ZEROMQ__BIND": "tcp://0.0.0.0:5599"}
    process = Process(tmp_path, "serve", "examples.conformance:endpoint", "--port", "0", env=env)
    assert process.popen.wait(PATIENCE) == 2
    assert "MESH_ZEROMQ__BIND" in process.log()


def test_after_a_gateway_restart_a_client_opens_again(tmp_path):
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with cluster(tmp_path, "examples.conformance:endpoint", gateways=1, env=env) as running:

        async def scenario():
            client = await ZeroMQClient.connect(env["MESH_ZEROMQ__BIND"])
            await client.join("room:1")
            old = running.kill("gateways", 0)
            await asyncio.to_thread(running.wait_restarted, "gateways", 0, old)
            while True:
                client.socket.send(b"P", b"")
                try:
                    kind, data = await client.socket.recv(0.2)
                except TimeoutError:
                    continue
                if kind == b"C":
                    break
            assert json.loads(data)["code"] == 4000
            await client.socket.open()
            client.messages.clear()
            assert (await client.join("room:1"))[0] == "ok"

        run(scenario())
