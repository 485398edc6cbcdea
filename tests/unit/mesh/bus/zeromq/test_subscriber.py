"""mesh/bus/zeromq/subscriber.py: what is sent again reaches those who could have had it, and nobody else."""

import asyncio
import errno

import pytest
import zmq

from mesh import settings
from mesh.app import topics
from mesh.bus.frames import (
    BROADCAST,
    RECORDED,
    VERSION,
    Header,
    Received,
    Recorded,
    encode_header,
    encode_resent,
)
from mesh.bus.zeromq import connect_failures, duplicates
from mesh.bus.zeromq import subscriber as module
from mesh.bus.zeromq.subscriber import Subscriber
from mesh.errors import SettingsError
from mesh.telemetry import counters
from mesh.zeromq import sockets


class Log:
    def __init__(self):
        self.levels = []

    def __getattr__(self, level):
        return lambda *_, **fields: self.levels.append(level)


@pytest.fixture
def hearing(monkeypatch):
    """A subscriber, the clock's time to be set, and what came."""

    class Hearing:
        now = 100.0

        def __init__(self):
            self.came = []

        async def __aenter__(self):
            self.context = zmq.Context()
            socket = sockets.bus_subscriber(self.context, settings.load().bus)
            self.subscriber = Subscriber(socket, (), 1.0, self)
            came = [lambda topic, header, data: self.came.append(header.sequence)]
            self.subscriber.start(came, came, {})
            return self

        def unread_changed(self, unread): ...

        async def __aexit__(self, *exception):
            self.subscriber.close()
            self.context.term()

        def message(self, sequence, age=None, topic="room:1", origin="a"):
            header = encode_header(Header(VERSION, BROADCAST, origin, sequence, "e", 0))
            if age is not None:
                header = encode_resent(header, int(age * 1000))
            self.subscriber._on_frames([topics.exact(topic), header, b"{}"])

    made = Hearing()
    monkeypatch.setattr(module.time, "monotonic", lambda: made.now)
    return made


def scenario(test):
    def run(hearing):
        async def main():
            async with hearing:
                await test(hearing)

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
async def test_what_comes_twice_is_delivered_once(hearing):
    hearing.subscriber.subscribe(topics.exact("room:1"))
    hearing.message(1)
    hearing.message(1)
    hearing.message(1, origin="b")
    assert hearing.came == [1, 1]


@scenario
async def test_what_was_published_before_the_subscription_is_not_delivered_when_it_is_sent_again(hearing):
    hearing.subscriber.subscribe(topics.exact("room:1"))
    hearing.message(1, age=0.0)
    assert hearing.came == [], "the subscription is not known to be in force"
    hearing.subscriber.in_force(hearing.subscriber.not_in_force())
    hearing.now += 1.0
    hearing.message(7)
    hearing.message(5, age=1.5)
    assert hearing.came == [7], "it would come behind a newer one"
    hearing.message(6, age=0.5)
    assert hearing.came == [7, 6], "but what was lost since is"


@scenario
async def test_an_older_subscription_to_a_prefix_counts_as_well(hearing):
    hearing.subscriber.subscribe(b"room:")
    hearing.subscriber.in_force(hearing.subscriber.not_in_force())
    hearing.now += 10.0
    hearing.subscriber.subscribe(topics.exact("room:1"))
    hearing.message(5, age=1.0)
    assert hearing.came == [5]


def test_forgotten_origins_are_counted_and_logged_once(hearing, monkeypatch):
    monkeypatch.setattr(duplicates, "MAX_ORIGINS", 10)
    lines = Log()
    monkeypatch.setattr(module, "log", lines)

    @scenario
    async def flood(hearing):
        hearing.subscriber.subscribe(topics.exact("room:1"))
        before = counters.value("bus_origins_forgotten")
        for _ in range(3):
            for number in range(100):
                hearing.message(1, origin=str(number))
            hearing.subscriber._timer.cancel()
            hearing.subscriber._tick()
        kept = len(hearing.subscriber._duplicates._origins)
        assert counters.value("bus_origins_forgotten") == before + len(hearing.came) - kept
        assert lines.levels == ["warning"]

    flood(hearing)


@scenario
async def test_the_first_numbers_of_a_new_subscription_are_bounded(hearing):
    hearing.subscriber.subscribe(topics.exact("room:1"))
    for number in range(10_050):
        hearing.message(1, origin=str(number))
    (numbers,) = hearing.subscriber._first_sequences.values()
    assert len(numbers) == 10_000


class Options:
    """A socket of which only the subscriptions count."""

    def __init__(self):
        self.sent = []

    def setsockopt(self, option, value):
        self.sent.append((option, value))


@scenario
async def test_a_long_topic_is_subscribed_by_its_beginning_and_compared_as_a_whole(hearing):
    subscriber, beginning = hearing.subscriber, "room:" + "x" * 1000
    real, subscriber._socket = subscriber._socket, Options()
    sent = subscriber._socket.sent
    subscriber.subscribe(topics.exact(beginning + "1"))
    hearing.message(1, topic=beginning + "1")
    hearing.message(2, topic=beginning + "2")
    assert hearing.came == [1]
    subscriber.subscribe(beginning.encode())
    hearing.message(3, topic=beginning + "2")
    subscriber.unsubscribe(beginning.encode())
    hearing.message(4, topic=beginning + "2")
    subscriber.unsubscribe(topics.exact(beginning + "1"))
    hearing.message(5, topic=beginning + "1")
    subscriber._socket = real
    assert hearing.came == [1, 3]
    cut = beginning.encode()[: module.MAX_SUBSCRIPTION_BYTES]
    assert len(cut) < 1000
    assert sent == [(zmq.SUBSCRIBE, cut)] * 2 + [(zmq.UNSUBSCRIBE, cut)] * 2


@scenario
async def test_a_subscription_of_long_ago_needs_no_memory(hearing):
    hearing.subscriber.subscribe(topics.exact("room:1"))
    hearing.subscriber.in_force(hearing.subscriber.not_in_force())
    hearing.now += 100.0
    hearing.subscriber._tick()
    assert not hearing.subscriber._in_force_since
    hearing.message(5, age=3.0)
    assert hearing.came == [5]


@scenario
async def test_what_is_older_than_the_first_that_came_is_not_delivered_however_young_it_says_it_is(hearing):
    hearing.subscriber.subscribe(topics.exact("room:1"))
    hearing.subscriber.in_force(hearing.subscriber.not_in_force())
    hearing.message(7)
    hearing.message(3, origin="b")
    hearing.message(6, age=0.0)
    hearing.message(8, age=0.0)
    hearing.subscriber.unsubscribe(topics.exact("room:1"))
    assert not hearing.subscriber._first_sequences
    assert hearing.came == [7, 3, 8]


def test_a_proxy_that_cannot_be_connected_to_is_tried_on_and_an_error_once(hearing, monkeypatch):
    proxy, address = "tcp://127.0.0.1:1", "tcp://127.0.0.1:2"
    log, answers = Log(), []
    monkeypatch.setattr(connect_failures, "log", log)
    monkeypatch.setattr(sockets, "connect", lambda *_: answers[-1]())

    def raises(error):
        def connect():
            raise error

        return connect

    async def scenario():
        async with hearing:
            timers = hearing.subscriber._reconnects._timers
            for answer in (
                raises(zmq.ZMQError(errno.EMFILE)),
                raises(zmq.ZMQError(errno.EMFILE)),
                raises(SettingsError("no key")),
                lambda: None,
                raises(SettingsError("no key")),
            ):
                answers.append(answer)
                timers.setdefault(address, None)
                hearing.subscriber._reconnects._reconnect(address, proxy)
                assert (address in timers) == (len(answers) != 4), "tried again unless it worked"

    asyncio.run(scenario())
    assert log.levels == ["error", "debug", "error", "error"]


def recorded(hearing, sequence, age=None, topic="room:1", origin="me"):
    header = encode_header(
        Received(VERSION, RECORDED, origin, sequence, "e", 0, None, None, Recorded("k3v9", sequence, 1))
    )
    if age is not None:
        header = encode_resent(header, int(age * 1000))
    hearing.subscriber._on_frames([topics.exact(topic), header, b"{}"])


@scenario
async def test_what_a_node_has_recorded_itself_comes_only_if_somebody_has_subscribed(hearing):
    prefixes = {}
    hearing.subscriber.ignore_own("me", prefixes)
    hearing.subscriber.subscribe(b"room:")
    recorded(hearing, 1)
    recorded(hearing, 2, origin="other")
    hearing.message(3, origin="me")
    assert hearing.came == [2, 3], "neither what others have recorded, nor other messages are ignored"
    hearing.subscriber.subscribe(topics.exact("room:1"))
    recorded(hearing, 4)
    recorded(hearing, 5, topic="room:2")
    assert hearing.came == [2, 3, 4]
    prefixes["room:"] = {}
    recorded(hearing, 6, topic="room:2")
    assert hearing.came == [2, 3, 4, 6]


@scenario
async def test_what_was_ignored_is_not_delivered_when_it_is_sent_again(hearing):
    hearing.subscriber.ignore_own("me", {})
    hearing.subscriber.subscribe(b"room:")
    hearing.subscriber.in_force(hearing.subscriber.not_in_force())
    recorded(hearing, 1)
    hearing.now += 1.0
    hearing.subscriber.subscribe(topics.exact("room:1"))
    recorded(hearing, 2)
    recorded(hearing, 1, age=1.0)
    assert hearing.came == [2]
