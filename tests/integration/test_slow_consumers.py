"""Clients that stop reading, by policy of the Channel class, over each transport and protocol version."""

import asyncio
import json
import re

import msgpack
import pytest

from tests.support.http import request
from tests.support.longpoll import LongPollClient
from tests.support.processes import serve
from tests.support.until import until
from tests.support.websocket import BINARY, PhoenixClient, RawWebSocket, run
from tests.support.zeromq import Dealer, ZeroMQClient

MESSAGES, PAD, BATCH = 3_000, 10_000, 50
MAX_UNSENT_BYTES = 200_000


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {
        "MESH_GATEWAY__MAX_UNSENT_BYTES": str(MAX_UNSENT_BYTES),
        "MESH_ZEROMQ__BIND": f"ipc://{directory}/clients",
        "MESH_ZEROMQ__HIGH_WATER_MARK": "5",
        "MESH_LONGPOLL__WINDOW_SECONDS": "120",  # a stalled poller keeps its session, however slow the machine
        "MESH_ADMIN__PORT": "0",
    }
    with serve(directory, "tests.support.slow_app:endpoint", env=env) as (process, url):
        yield process, url, env["MESH_ZEROMQ__BIND"]


class Stalled:
    """A WebSocket client of some protocol version that joins and then reads no more until told."""

    def __init__(self, query, encode, decode):
        self.query, self.encode, self.decode = query, encode, decode

    async def join(self, base, topic):
        self.socket = await RawWebSocket.connect(f"{base}/socket/websocket?{self.query}")
        self.encode(self.socket, topic)
        event, _ = self.decode(await self.socket.recv())
        assert event == "phx_reply"
        self.socket.writer.transport.pause_reading()

    async def wake(self):
        self.socket.writer.transport.resume_reading()

    async def next(self):
        return self.decode(await self.socket.recv())


def _v2(socket, topic):
    socket.send_text(json.dumps(["1", "1", topic, "phx_join", {}]))


def _v1(socket, topic):
    message = {"topic": topic, "event": "phx_join", "payload": {}, "ref": "1", "join_ref": "1"}
    socket.send_text(json.dumps(message))


def _msgpack(socket, topic):
    socket.send_frame(BINARY, msgpack.packb(["1", "1", topic, "phx_join", {}]))


def _array(frame):
    message = json.loads(frame[1])
    return message[3], message[4]


def _object(frame):
    message = json.loads(frame[1])
    return message["event"], message["payload"]


def _packed(frame):
    message = msgpack.unpackb(frame[1])
    return message[3], message[4]


class StalledPhoenix:
    """Over long-poll and ZeroMQ: it does not read because nobody asks it to."""

    def __init__(self, client):
        self.client = client

    async def join(self, _base, topic):
        assert (await self.client.join(topic))[0] == "ok"

    async def wake(self): ...

    async def next(self):
        message = await self.client.next()
        return message[3], message[4]


async def stalled(url, address):
    dealer = Dealer(address, RCVHWM=1)
    await dealer.open()
    return {
        "v2": Stalled("vsn=2.0.0", _v2, _array),
        "v1": Stalled("vsn=1.0.0", _v1, _object),
        "msgpack": Stalled("vsn=2.0.0&format=msgpack", _msgpack, _packed),
        "longpoll": StalledPhoenix(await LongPollClient.connect(url)),
        "zeromq": StalledPhoenix(ZeroMQClient(dealer)),
    }


async def publish(bystander, topic, first, count):
    """Publish and hear all of it: who keeps up misses nothing."""
    push = {"first": first, "count": count, "pad": PAD}
    bystander.cast(topic, "publish", push)
    for number in range(first, first + count):
        message = await bystander.next()
        assert (message[2], message[4]["n"]) == (topic, number)


async def flood(bystander, topic):
    for first in range(0, MESSAGES, BATCH):
        await publish(bystander, topic, first, BATCH)


async def read_to_the_end(client):
    """Numbers received up to the last that was published before waking."""
    await client.wake()
    numbers = []
    while not numbers or not {MESSAGES - 1, MESSAGES - 2} <= set(numbers):
        event, payload = await client.next()
        assert event == ("even" if payload["n"] % 2 == 0 else "odd")
        numbers.append(payload["n"])
    return numbers


async def unsent_bytes(process):
    operators = process.wait_for(r"admin\s+(http://\S+)")[1]
    _, text = await asyncio.to_thread(request, f"{operators}/metrics")
    return float(re.search(r"^mesh_unsent_bytes (\S+)", text, re.MULTILINE)[1])


async def stall_and_wake(running, topic):
    """What each stalled client got; afterwards it misses nothing."""
    process, url, address = running
    bystander = await PhoenixClient.connect(url)
    await bystander.join(topic)
    clients = await stalled(url, address)
    for client in clients.values():
        await client.join(url, topic)
    await flood(bystander, topic)
    assert 0 < await unsent_bytes(process) <= len(clients) * MAX_UNSENT_BYTES
    got = {name: await read_to_the_end(client) for name, client in clients.items()}
    await publish(bystander, topic, MESSAGES, 2)  # one of each event
    for client in clients.values():
        assert [(await client.next())[1]["n"] for _ in range(2)] == [MESSAGES, MESSAGES + 1]
    return got


def test_a_stalled_dashboard_wakes_up_to_the_newest_value_of_each_event(running):
    process = running[0]

    async def scenario():
        got = await stall_and_wake(running, "dashboard:1")
        for name, numbers in got.items():
            evens, odds = ([n for n in numbers if n % 2 == rest] for rest in (0, 1))
            assert evens == sorted(set(evens)), name
            assert odds == sorted(set(odds)), name
            missed = set(range(MESSAGES)) - set(numbers)
            assert len(missed) > 100, name
            in_flight = min(missed)
            assert numbers[:in_flight] == list(range(in_flight)), name
        assert got["longpoll"] == [MESSAGES - 2, MESSAGES - 1]

    run(scenario())
    assert len(re.findall(r"a slow client missed broadcasts.*conflated=\d+", process.log())) >= 5


def test_a_client_that_falls_behind_a_ticker_misses_the_oldest(running):
    process = running[0]

    async def scenario():
        got = await stall_and_wake(running, "ticker:1")
        for name, numbers in got.items():
            assert numbers == sorted(set(numbers)), name
            missed = set(range(MESSAGES)) - set(numbers)
            assert len(missed) > 100, name
            assert numbers[-10:] == list(range(MESSAGES - 10, MESSAGES)), name
        assert len(got["longpoll"]) == 10

    run(scenario())
    assert len(re.findall(r"a slow client missed broadcasts.*dropped_oldest=\d+", process.log())) >= 5
    assert "slow client closed" not in process.log()


def test_replies_are_never_dropped_and_do_not_change_their_place(running):
    _, url, _ = running

    async def scenario():
        bystander = await PhoenixClient.connect(url)
        await bystander.join("dashboard:2")
        slow = await PhoenixClient.connect(url)
        await slow.join("dashboard:2")
        slow.socket.writer.transport.pause_reading()
        refs = []
        for first in range(0, 2_000, BATCH):
            await publish(bystander, "dashboard:2", first, BATCH)
            slow.refs += 1
            refs.append(f"r{slow.refs}")
            slow.say(None, refs[-1], "phoenix", "heartbeat", {})
        slow.socket.writer.transport.resume_reading()
        seen, order = [], []
        while not seen or seen[-1] != refs[-1] or not {1_998, 1_999} <= set(order):
            message = await slow.next()
            if message[3] == "phx_reply":
                seen.append(message[1])
            else:
                order.append(message[4]["n"])
        assert seen == refs
        for rest in (0, 1):  # the order is that of each event
            of_event = [number for number in order if number % 2 == rest]
            assert of_event == sorted(set(of_event))
        assert len(order) < 2_000

    run(scenario())


def test_one_connection_has_topics_of_several_policies_and_is_closed_for_the_strict_one(running):
    process, url, _ = running

    async def scenario():
        bystander = await PhoenixClient.connect(url)
        slow = await PhoenixClient.connect(url)
        for topic in ("dashboard:3", "chat:3"):
            await bystander.join(topic)
            await slow.join(topic)
        slow.socket.writer.transport.pause_reading()
        await flood(bystander, "dashboard:3")
        assert "slow client closed" not in process.log()
        for first in range(0, 500, BATCH):
            await publish(bystander, "chat:3", first, BATCH)
        await until(lambda: "slow client closed" in process.log())

    run(scenario())
