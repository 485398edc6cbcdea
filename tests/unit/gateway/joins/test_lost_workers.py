"""A worker with thousands of channels is gone: they end in turns, each of them as if it were alone."""

import asyncio
import json

import pytest

from mesh.gateway.fanout import subscribed_topics
from mesh.gateway.joins import lost_workers
from mesh.link import commands
from mesh.protocol.messages import JSON
from tests.support.hub import WORKER, Gateway, Workers, scenario_with


class Moody(Workers):
    """Places joins where it is told to."""

    def __init__(self):
        super().__init__()
        self.counts["other"] = 0
        self.to = WORKER

    def place(self, mount, channel, key):
        return self.to


scenario = scenario_with(lambda: Gateway(Moody(), max_channels_per_socket=1_000))
MANY = 10 * lost_workers.CHANNELS_PER_CLOCK_CHECK


@pytest.fixture(autouse=True)
def _no_time_at_all(monkeypatch):
    """Each turn ends one look's worth of channels."""
    monkeypatch.setattr(lost_workers, "SLICE_SECONDS", 1e-9)


def join(gateway, number, first=0):
    """Topics room:0, ...; returns the numbers of their channels."""
    sent = len(gateway.workers.sent)
    for each in range(first, first + number):
        gateway.say(str(each), str(each), f"room:{each}", "phx_join", {})
    joins = [each.channel for each in gateway.workers.sent[sent:]]
    for channel in joins:
        gateway.hear(commands.Joined(channel, (), 0, JSON, b"{}"), gateway.workers.to)
    gateway.client.outbox.clear()
    return joins


def errors(gateway):
    return [message[2] for message in gateway.client.outbox if message[3] == "phx_error"]


def in_a_loop(main):
    """A decorator: as `scenario`, but the test is a coroutine, so turns can pass in it."""

    def run():
        async def with_gateway():
            await main(Gateway(Moody(), max_channels_per_socket=1_000))

        asyncio.run(with_gateway())

    run.__name__ = main.__name__
    return run


async def turns(gateway):
    while gateway.hub._lost._lost:
        await asyncio.sleep(0)


@in_a_loop
async def test_the_first_clients_hear_of_it_before_the_last_channels_have_ended(gateway):
    join(gateway, MANY)
    gateway.hub.on_lost(WORKER, False)
    assert 0 < len(errors(gateway)) < MANY
    await turns(gateway)
    assert sorted(errors(gateway)) == sorted(f"room:{each}" for each in range(MANY))
    assert gateway.hub.counts()[1] == 0
    assert not gateway.client.session.channels


@in_a_loop
async def test_a_small_workers_channels_end_at_once(gateway):
    join(gateway, lost_workers.CHANNELS_PER_CLOCK_CHECK)
    gateway.workers.to = "other"
    join(gateway, 3, first=100)
    gateway.hub.on_lost(WORKER, False)
    assert len(errors(gateway)) == lost_workers.CHANNELS_PER_CLOCK_CHECK
    assert not gateway.hub._lost._lost
    assert gateway.hub.counts()[1] == 3


@in_a_loop
async def test_a_client_that_goes_meanwhile_takes_its_channels_along(gateway):
    join(gateway, MANY)
    gateway.hub.on_lost(WORKER, False)
    before = len(errors(gateway))
    gateway.hub.disconnected(gateway.client, "closed")
    await turns(gateway)
    assert len(errors(gateway)) == before
    assert gateway.hub.counts()[1] == 0


@in_a_loop
async def test_a_join_of_a_topic_whose_turn_has_not_come_goes_to_another_worker(gateway):
    join(gateway, MANY)
    gateway.hub.on_lost(WORKER, False)
    gateway.workers.to = "other"
    topic = f"room:{MANY - 1}"
    assert topic not in errors(gateway)
    gateway.say("again", "again", topic, "phx_join", {})
    await turns(gateway)
    assert topic not in errors(gateway)  # the second join has ended the first channel
    (placed,) = [each for each in gateway.workers.sent[-1:] if type(each) is commands.Join]
    gateway.hear(commands.Joined(placed.channel, (), 0, JSON, b"{}"), "other")
    assert [message[:4] for message in gateway.client.outbox if message[2] == topic] == [
        ["again", "again", topic, "phx_reply"],
        [str(MANY - 1), str(MANY - 1), topic, "phx_close"],
    ]
    gateway.broadcast(1, "news", origin="other", topic=topic)
    assert gateway.events()[-1] == "news"


@in_a_loop
async def test_joins_after_the_error_are_not_ended_with_the_old_channels(gateway):
    join(gateway, MANY)
    gateway.hub.on_lost(WORKER, False)
    gateway.workers.to = "other"
    early = errors(gateway)
    again = join(gateway, len(early), int(early[0].partition(":")[2]))
    gateway.hub.on_lost(WORKER, False)  # it was linked again, and is gone again
    await turns(gateway)
    assert len(errors(gateway)) == MANY - len(early)
    assert sorted(gateway.hub._channels) == sorted(again)


@in_a_loop
async def test_joins_under_way_come_first_and_in_order(gateway):
    join(gateway, MANY)
    sent = len(gateway.workers.sent)
    for each in range(5):
        gateway.say("j", "j", f"room:pending-{each}", "phx_join", {})
    gateway.workers.to = "other"
    gateway.hub.on_lost(WORKER, False)
    placed = [each.topic for each in gateway.workers.sent[sent:] if type(each) is commands.Join]
    assert placed == [f"room:pending-{each}" for each in range(5)] * 2
    await turns(gateway)


@in_a_loop
async def test_one_clients_channels_end_together(gateway):
    others = [gateway.connect() for _ in range(4)]
    for number in range(MANY):
        client = others[number % 4]
        message = ["1", "1", f"room:{number}", "phx_join", {}]
        gateway.hub.received(client, json.dumps(message).encode(), False)
        gateway.hear(commands.Joined(gateway.workers.sent[-1].channel, (), 0, JSON, b"{}"))
    gateway.hub.on_lost(WORKER, False)
    heard = sum(client.outbox[-1][3] == "phx_error" for client in others)
    assert heard == 1
    await turns(gateway)


@in_a_loop
async def test_topics_are_given_up_later_and_a_topic_joined_again_is_not_subscribed_again(gateway):
    told = []
    gateway.bus.subscribe = lambda what: told.append(("subscribe", what))
    gateway.bus.unsubscribe = lambda what: told.append(("unsubscribe", what))
    join(gateway, MANY)
    told.clear()
    gateway.hub.on_lost(WORKER, False)
    await turns(gateway)
    late = list(gateway.hub._topics._late)
    assert 0 < len(late) < MANY
    assert len(told) == MANY - len(late)
    gateway.workers.to = "other"
    told.clear()
    gateway.say("a", "a", late[0], "phx_join", {})
    assert told == []
    gateway.hub._topics._timer.cancel()
    while gateway.hub._topics._late:
        gateway.hub._topics._turn()
    assert {what for _, what in told} == {f"{topic}\0".encode() for topic in late[1:]}
    assert len(told) == len(late) - 1
    gateway.say("a", "b", late[1], "phx_join", {})
    assert told[-1] == ("subscribe", f"{late[1]}\0".encode())


@scenario
def test_over_the_bound_topics_are_given_up_at_once(gateway):
    topics = subscribed_topics.SubscribedTopics(gateway.bus)
    topics._late = dict.fromkeys(map(str, range(subscribed_topics.MAX_LATE)))
    for number in range(20):
        topics.subscribe(f"room:{number}")
        topics.unsubscribe(f"room:{number}")
    assert gateway.bus.subscribed == []
    assert len(topics._late) == subscribed_topics.MAX_LATE


@in_a_loop
async def test_what_is_given_up_in_another_turn_is_given_up_at_once(gateway):
    topics = gateway.hub._topics
    for _ in range(3):
        for number in range(subscribed_topics.AT_ONCE):
            topics.subscribe(f"room:{number}")
            topics.unsubscribe(f"room:{number}")
        assert gateway.bus.subscribed == []
        await asyncio.sleep(0)


@scenario
def test_at_the_end_nothing_is_given_up_any_more(gateway):
    topics = gateway.hub._topics
    for number in range(20):
        topics.subscribe(f"room:{number}")
        topics.unsubscribe(f"room:{number}")
    assert topics._late
    topics.close()
    assert topics._timer.cancelled()
    assert not topics._late
