"""Every broadcast is accounted for, for every member: gateway/fanout/fanout.py over real outboxes, gateway/fanout/delivery_stats.py."""

import asyncio
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.app.channel import Channel
from mesh.app.routes import Route
from mesh.bus.frames import BROADCAST, RECORDED, VERSION, Received, Recorded
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import Phase
from mesh.gateway.channels.recovery import Recovery
from mesh.gateway.fanout.delivery_stats import CLIENT_GONE
from mesh.gateway.fanout.fanout import Fanout
from mesh.gateway.flow.outbox import Flusher, Outbox
from mesh.gateway.transports.base import Encoding
from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON, Message, Sender
from mesh.protocol.serializers.v1_json import V1JSON
from mesh.protocol.serializers.v2_json import V2JSON
from tests.support.gateway_channels import answer, place

ENCODINGS = [Encoding(each, lambda frame: frame.data + b"\n") for each in (V2JSON(), V1JSON())]
WORKERS = ["w0", "w1"]
EPOCH = "k3v9aaaaaaaa"


class Strict(Channel): ...


class Newest(Channel):
    slow_consumer = "latest_only"


class Oldest(Channel):
    slow_consumer = "drop_oldest"
    max_behind_messages = 2


ROUTES = [Route("strict:*", Strict), Route("newest:*", Newest), Route("oldest:*", Oldest)]
TOPICS = ["strict:1", "newest:1", "oldest:1"]


class Loop:
    def call_soon(self, callback, *args): ...

    def add_writer(self, fileno, callback): ...

    def remove_writer(self, fileno): ...


class Socket:
    """Takes what it has room for; counts nothing, remembers everything."""

    def __init__(self):
        self.room, self.taken = 10**9, b""

    def fileno(self):
        return 1

    def send(self, data):
        if self.room is None:
            raise ConnectionResetError
        if not self.room:
            raise BlockingIOError
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.taken += taken
        return len(taken)


class Client:
    """A client's outbox, and what the hub does when it ends."""

    def __init__(self, gateway, encoding):
        self.gateway, self.encoding = gateway, encoding
        self.sock, self.channels, self.over = Socket(), {}, False
        self.outbox = Outbox(gateway.flusher, self.sock, 600, self.slow, self.broken)
        self.transport = SimpleNamespace(close_slow=self.slow)

    def slow(self, _unsent):
        self.gateway.later.append(self.end)

    def broken(self):
        self.gateway.later.append(self.end)

    def end(self):
        if self.over:
            return
        self.over = True
        self.outbox.discard()
        for channel in self.channels.values():
            self.gateway.fanout.drop(channel, CLIENT_GONE)
        self.channels.clear()

    def delivered(self, topic):
        """Whole frames of broadcasts to a topic that its socket has taken."""
        whole = self.sock.taken.split(b"\n")[:-1]
        return sum(topic.encode() in each and b"value" in each for each in whole)


class Gateway:
    """Drives a fan-out as a hub would, and keeps books of its own."""

    def __init__(self):
        self.flusher, self.fanout = Flusher(), Fanout("g", max_held=3)
        self.later, self.clients, self.numbers, self.sequences = [], [], 0, dict.fromkeys(WORKERS, 0)
        self.members_at_arrival = dict.fromkeys(TOPICS, 0)
        self.offsets = dict.fromkeys(TOPICS, 0)
        self.fanout.on_missed = self.end_channel

    def end_channel(self, channel):
        del channel.client.channels[channel.topic]
        self.fanout.drop(channel)

    def connect(self, encoding):
        self.clients.append(Client(self, ENCODINGS[encoding]))

    def joined(self, which, topic):
        client = self.clients[which % len(self.clients)] if self.clients else None
        channel = client.channels.get(topic) if client is not None else None
        return client, channel

    def join(self, which, topic, intercepts):
        client, channel = self.joined(which, topic)
        if client is None or client.over or channel is not None:
            return
        self.numbers += 1
        join = Message("1", "1", topic, "phx_join", JSON, b"{}")
        route = next(each for each in ROUTES if each.matches(topic))
        channel = client.channels[topic] = GatewayChannel(self.numbers, route, join, client)
        place(channel, WORKERS[self.numbers % 2])
        channel.intercepts = frozenset(["secret"] if intercepts else [])
        self.fanout.hold(channel)

    def answer(self, which, topic, back, history=None):
        _, channel = self.joined(which, topic)
        if channel is not None and channel.phase is Phase.JOINING:
            answer(channel)
            if history is not None:
                channel.recovery = Recovery()
                offset = max(0, self.offsets[topic] - history)
                channel.recovery.begin(commands.HistoryState(channel.number, EPOCH, offset, True, 0))
            channel.since = max(0, self.sequences[channel.worker] - back)
            channel.client.outbox.send(b"reply\n")
            self.fanout.release(channel, 0)

    def leave(self, which, topic):
        client, channel = self.joined(which, topic)
        if channel is not None:
            del client.channels[topic]
            self.fanout.drop(channel)

    def keep_behind(self, which, topic):
        _, channel = self.joined(which, topic)
        if channel is not None:
            self.fanout.hold(channel)

    def catch_up(self, which, topic, received):
        _, channel = self.joined(which, topic)
        if channel is not None and channel.phase is Phase.JOINED:
            self.fanout.release(channel, received)

    def broadcast(self, topic, event, worker, codec, sender, behind, recorded=None):
        self.sequences[worker] += 1
        self.members_at_arrival[topic] += sum(topic in each.channels for each in self.clients)
        _, channel = self.joined(sender, topic) if sender is not None else (None, None)
        by = Sender("g", channel.number, behind == 0, behind) if channel is not None else None
        data = b'{"value":1}' if codec == JSON else b"value"
        position = None
        if recorded is not None:
            self.offsets[topic] += 1 + recorded  # this many are missing
            position = Recorded(EPOCH, self.offsets[topic], 1)
        kind = BROADCAST if position is None else RECORDED
        header = Received(VERSION, kind, worker, self.sequences[worker], event, codec, by, None, position)
        self.fanout.deliver(topic, header, data)

    def stall(self, which, topic, count):
        """A client takes nothing while so many broadcasts come, a reply between them."""
        self.room(which, 0)
        for number in range(count):
            self.broadcast(topic, "open", WORKERS[number % 2], JSON, None, 0)
            self.flusher.flush()
            client, channel = self.joined(which, topic)
            if number % 2 and channel is not None:
                client.outbox.send(b"reply\n")

    def local(self, topic, event, worker):
        served = [each.channels.get(topic) for each in self.clients]
        self.members_at_arrival[topic] += sum(
            each is not None and each.worker == worker and each.phase is Phase.JOINED for each in served
        )
        self.fanout.deliver_local(worker, commands.Broadcast(topic, 0, event, JSON, b'{"value":1}'))

    def room(self, which, number):
        if self.clients:
            self.clients[which % len(self.clients)].sock.room = number

    def disconnect(self, which):
        if self.clients:
            self.clients[which % len(self.clients)].end()

    def tick(self):
        self.flusher.flush()
        for client in self.clients:
            if client.outbox.blocked:
                client.outbox.flush()
        later, self.later = self.later, []
        for call in later:
            call()

    def check(self):
        self.flusher.flush()
        for topic, route in zip(TOPICS, ROUTES, strict=True):
            stats = self.fanout.routes.get(route.pattern)
            if stats is None:
                assert self.members_at_arrival[topic] == 0
                continue
            assert min(stats.held, stats.unsent, stats.delivered, *stats.dropped.values(), 0) >= 0
            assert stats.expected == self.members_at_arrival[topic]
            assert stats.delivered == sum(client.delivered(topic) for client in self.clients)
            became = sum(stats.filtered.values()) + sum(stats.dropped.values())
            assert stats.expected == stats.delivered + became + stats.held + stats.unsent


WHICH, TOPIC = st.integers(0, 5), st.sampled_from(TOPICS)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("connect"), st.integers(0, 1)),
        st.tuples(st.just("join"), WHICH, TOPIC, st.booleans()),
        st.tuples(
            st.just("answer"), WHICH, TOPIC, st.integers(0, 3), st.sampled_from([None, None, 0, 0, 2])
        ),
        st.tuples(st.just("leave"), WHICH, TOPIC),
        st.tuples(st.just("keep_behind"), WHICH, TOPIC),
        st.tuples(st.just("catch_up"), WHICH, TOPIC, st.integers(0, 4)),
        st.tuples(
            st.just("broadcast"),
            TOPIC,
            st.sampled_from(["secret", "open"]),
            st.sampled_from(WORKERS),
            st.sampled_from([JSON, JSON, BINARY]),
            st.none() | WHICH,
            st.sampled_from([0, 0, 0, 1, 4]),
            st.sampled_from([None, None, 0, 0, 0, 1]),
        ),
        st.tuples(st.just("stall"), WHICH, TOPIC, st.integers(1, 8)),
        st.tuples(st.just("local"), TOPIC, st.sampled_from(["secret", "open"]), st.sampled_from(WORKERS)),
        st.tuples(st.just("room"), WHICH, st.sampled_from([0, 0, 7, 60, 500, 10**9, None])),
        st.tuples(st.just("disconnect"), WHICH),
        st.just(("tick",)),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_expected_is_delivered_and_filtered_and_dropped_and_waiting_at_any_time(steps):
    real = asyncio.get_running_loop
    asyncio.get_running_loop = Loop
    try:
        gateway = Gateway()
        for client in range(3):
            gateway.connect(client % 2)
            for topic in TOPICS:
                gateway.join(client, topic, client == 2)
                gateway.answer(client, topic, 0, 0 if client else None)
        for topic in TOPICS:
            for worker in WORKERS:
                gateway.broadcast(topic, "open", worker, JSON, None, 0)
        for verb, *values in steps:
            getattr(gateway, verb)(*values)
            gateway.check()
        for client in range(len(gateway.clients)):
            gateway.disconnect(client)
        gateway.check()
        assert all(stats.held == stats.unsent == 0 for stats in gateway.fanout.routes.values())
        assert not len(gateway.fanout)
    finally:
        asyncio.get_running_loop = real


def test_a_topic_that_is_joined_through_two_routes_is_counted_for_each():
    fanout = Fanout("g")
    for number, route in enumerate([Route("a:*", Strict), Route("*", Newest)]):
        client = SimpleNamespace(encoding=ENCODINGS[0], outbox=SimpleNamespace(send=lambda _: None))
        channel = GatewayChannel(number, route, Message("1", "1", "a:1", "phx_join", JSON, b"{}"), client)
        place(channel)
        fanout.hold(channel)
        fanout.release(channel, 0)
    fanout.deliver("a:1", Received(VERSION, BROADCAST, "w", 1, "e", JSON), b"{}")
    assert {pattern: stats.expected for pattern, stats in fanout.routes.items()} == {"a:*": 1, "*": 1}
    assert {pattern: stats.delivered for pattern, stats in fanout.routes.items()} == {"a:*": 1, "*": 1}
    assert {each.policy for each in fanout.stats("a:1")} == {"close", "latest_only"}
