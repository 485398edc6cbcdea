"""gateway/joins/join_guard.py and the hub: what becomes of joins on workers that die."""

import asyncio

from mesh.bus import crashed_joins
from mesh.bus.frames import CRASHED_JOINS, VERSION, Received
from mesh.gateway.joins.join_guard import STAGGER_SECONDS, TICK_SECONDS
from mesh.link import commands
from mesh.link.malformed import Malformed
from mesh.protocol.messages import JSON
from mesh.telemetry import counters
from tests.support.hub import WORKER, Gateway, Workers
from tests.support.virtual_time import run_virtually

CRASHED = {"status": "error", "response": {"reason": "join crashed"}}
MOMENT = STAGGER_SECONDS + 2 * TICK_SECONDS


def virtually(test):
    def run():
        async def main():
            await test(Gateway())

        run_virtually(main())

    run.__name__ = test.__name__
    return run


def joins(gateway):
    return [each.topic for each in gateway.workers.sent if isinstance(each, commands.Join)]


def replies(gateway):
    return [message[4] for message in gateway.client.outbox if message[3] == "phx_reply"]


async def killed_twice(gateway, topic="room:1"):
    gateway.say("1", "1", topic, "phx_join", {})
    for _ in range(2):
        gateway.hub.on_lost(WORKER, True)
        await asyncio.sleep(MOMENT)


@virtually
async def test_a_join_whose_worker_died_goes_to_another_and_is_refused_when_that_dies_too(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hub.on_lost(WORKER, True)
    await asyncio.sleep(MOMENT)
    assert joins(gateway) == ["room:1", "room:1"]
    assert replies(gateway) == []
    before = counters.value("joins_crashed")
    gateway.hub.on_lost(WORKER, True)
    await asyncio.sleep(MOMENT)
    assert joins(gateway) == ["room:1", "room:1"]
    assert replies(gateway) == [CRASHED]
    assert gateway.bus.subscribed == []
    assert counters.value("joins_crashed") == before + 1


@virtually
async def test_its_topic_is_refused_and_no_other(gateway):
    await killed_twice(gateway)
    for topic in ("room:1", "room:2"):
        gateway.say("2", "2", topic, "phx_join", {})
    await asyncio.sleep(0)
    assert replies(gateway) == [CRASHED, CRASHED]
    assert joins(gateway) == ["room:1", "room:1", "room:2"]
    await asyncio.sleep(1.0)
    gateway.say("3", "3", "room:1", "phx_join", {})
    assert joins(gateway)[3:] == ["room:1"]
    gateway.hub.on_lost(WORKER, True)
    await asyncio.sleep(MOMENT)
    assert replies(gateway) == [CRASHED] * 3


@virtually
async def test_a_worker_that_stops_in_order_or_was_given_up_does_not_count(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    for _ in range(5):
        gateway.hub.on_lost(WORKER, False)
    assert joins(gateway) == ["room:1"] * 6
    assert replies(gateway) == []


@virtually
async def test_what_another_gateway_says_is_heeded_and_garbage_is_not(gateway):
    refused_elsewhere = gateway.hub.join_guard.on_topic_refused_elsewhere
    header = Received(VERSION, CRASHED_JOINS, "g2", 1, "", 0)
    refused_elsewhere(header, b"garbage")
    refused_elsewhere(header, crashed_joins.encode(crashed_joins.RefusedTopic("/socket", "room:1", 1)))
    gateway.say("1", "1", "room:1", "phx_join", {})
    await asyncio.sleep(0)
    assert (replies(gateway), joins(gateway)) == ([CRASHED], [])


@virtually
async def test_a_client_that_goes_while_its_join_waits_leaves_nothing(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hub.on_lost(WORKER, True)
    gateway.hub.disconnected(gateway.client, "closed")
    await asyncio.sleep(MOMENT)
    assert joins(gateway) == ["room:1"]
    assert not gateway.hub.join_guard._suspects


def joined(gateway, topic, number):
    gateway.say("1", "1", topic, "phx_join", {})
    gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))


@virtually
async def test_a_malformed_command_ends_the_channel_that_it_names_here_and_in_the_worker(gateway):
    joined(gateway, "room:1", 1)
    joined(gateway, "room:2", 2)
    gateway.hub.on_malformed("another worker", Malformed((1,), None, "no bytes"))
    gateway.hub.on_malformed(WORKER, Malformed((1, 99), None, "no bytes"))
    assert gateway.events() == ["phx_reply", "phx_reply", "phx_error"]
    assert gateway.workers.sent[-1] == commands.SocketDown([1], "malformed command")
    gateway.hub.on_malformed(WORKER, Malformed((), "room:2", "no bytes"))
    assert gateway.events()[3:] == ["phx_error"]


@virtually
async def test_a_malformed_answer_to_a_join_refuses_it(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hub.on_malformed(WORKER, Malformed((1,), None, "no bytes"))
    assert replies(gateway) == [CRASHED]


class Serving(Workers):
    """Workers that may be absent; joins wait for them."""

    def __init__(self):
        super().__init__()
        self.there, self.waiting = True, []

    def place(self, mount, channel, key):
        if self.there:
            return WORKER
        self.waiting.append(channel)
        return None

    def forget(self, channel):
        if channel in self.waiting:
            self.waiting.remove(channel)


@virtually
async def test_suspects_that_waited_for_a_worker_go_one_by_one_when_it_comes(gateway):
    workers = Serving()
    gateway = Gateway(workers)
    for number in range(20):
        gateway.say("1", "1", f"room:{number}", "phx_join", {})
    workers.there = False
    gateway.hub.on_lost(WORKER, True)
    await asyncio.sleep(MOMENT)
    assert len(workers.waiting) == 20, "each has the time that any join has"
    workers.there = True
    workers.sent.clear()
    for channel in list(workers.waiting):
        gateway.hub.on_placeable(channel)
    await asyncio.sleep(MOMENT)
    assert (len(joins(gateway)), workers.waiting) == (1, [])
    await asyncio.sleep(10.0)
    assert len(joins(gateway)) == 20


@virtually
async def test_innocent_joins_on_two_workers_that_are_killed_at_once_are_not_refused(gateway):
    gateway.workers.counts["v"] = 0
    for number in range(50):
        gateway.say("1", "1", f"room:{number}", "phx_join", {})
    for channel in list(gateway.hub._channels.values())[::2]:
        channel.worker = "v"
    for worker in (WORKER, "v"):
        gateway.hub.on_lost(worker, True)
        await asyncio.sleep(0.01)
    await asyncio.sleep(8.0)
    assert len(joins(gateway)) == 100
    assert replies(gateway) == []


@virtually
async def test_joins_that_hang_hold_up_the_others_for_seconds_only(gateway):
    gateway = Gateway(max_channels_per_socket=1_000)
    for number in range(500):
        gateway.say("1", "1", f"room:{number}", "phx_join", {})
    gateway.hub.on_lost(WORKER, True)
    await asyncio.sleep(MOMENT + 10.0)
    assert len(joins(gateway)) == 1_000
    assert not gateway.hub.join_guard._suspects


@virtually
async def test_joins_that_are_refused_hold_up_the_others_no_longer_than_those_that_are_not(gateway):
    gateway = Gateway(max_channels_per_socket=1_000)
    for number in range(500):
        gateway.say("1", "1", f"room:{number}", "phx_join", {})
    gateway.hub.on_lost(WORKER, True)
    gateway.workers.sent.clear()
    began = asyncio.get_running_loop().time()
    refused = set()
    while len(refused) < 500:
        await asyncio.sleep(TICK_SECONDS)
        for each in list(gateway.workers.sent):
            if isinstance(each, commands.Join) and each.channel not in refused:
                refused.add(each.channel)
                gateway.hear(commands.Refused(each.channel, JSON, b'{"reason":"expired"}'))
    assert asyncio.get_running_loop().time() - began < 2.0
    assert not gateway.hub.join_guard._suspects
