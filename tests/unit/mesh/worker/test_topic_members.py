"""A broadcast that cannot be read costs no channel anything, only its origin a count and a line."""

import asyncio

import pytest

from mesh.bus.frames import BROADCAST, VERSION, Received
from mesh.bus.subscriptions import Subscription, Subscriptions
from mesh.protocol.messages import BINARY, JSON, MSGPACK
from mesh.telemetry import counters
from mesh.worker.channel.mailbox import InterceptedBroadcast, SubscribedBroadcast
from mesh.worker.handoff.recent_broadcasts import RecentBroadcasts
from mesh.worker.push_pauses import PushPauses
from mesh.worker.topic_members import LocalMembers
from tests.support.bus import NumberingBus

GARBAGE = [
    ("e", JSON, b'{"n":'),
    ("e", JSON, b""),
    ("e", JSON, b'{"n":1e999}'),
    ("e", JSON, b'{"n":"\xff"}'),
    ("e", JSON, b"[" * 10_000),
    ("e", MSGPACK, b"\x81\xa1"),
    ("e", 9, b"{}"),
    ("phx_close", JSON, b"{}"),
    ("e" * 4_097, JSON, b"{}"),
    ("\u00e9" * 2_049, JSON, b"{}"),
    ("e", BINARY, bytes(8_000_001)),
]
INTERCEPTS = frozenset(event for event, _, _ in GARBAGE)
each_garbage = pytest.mark.parametrize(("event", "codec", "data"), GARBAGE)


class Server:
    """A channel."""

    topic, link = "room:1", b"g"
    intercepts = INTERCEPTS

    def __init__(self):
        self.context = self.mailbox = self
        self.messages = []
        self.post = self.post_sized = self.messages.append


def header(event, codec, sequence):
    return Received(VERSION, BROADCAST, "stranger", sequence, event, codec)


@each_garbage
@pytest.mark.parametrize("moving", [False, True])
def test_channels_are_not_given_garbage(event, codec, data, moving):
    async def scenario():
        recent = RecentBroadcasts(INTERCEPTS) if moving else None
        members = LocalMembers(NumberingBus(), lambda *_: 0, PushPauses(), recent)
        server, subscriber = Server(), Server()
        members.add(server)
        await members.subscribe(subscriber, "room:1")
        before = counters.value("bus_messages_malformed")
        members.broadcast("room:1", header(event, codec, 1), data)
        assert not server.messages
        assert not subscriber.messages
        assert counters.value("bus_messages_malformed") == before + 1
        if recent is not None:
            assert not list(recent.after("room:1", {}))
        members.broadcast("room:1", header("e", JSON, 2), b'{"a":1}')
        assert server.messages == [InterceptedBroadcast("e", JSON, b'{"a":1}')]
        assert subscriber.messages == [SubscribedBroadcast("room:1", "e", JSON, b'{"a":1}')]

    asyncio.run(scenario())


@each_garbage
def test_a_loop_over_a_subscription_is_not_given_garbage(event, codec, data):
    async def scenario():
        subscriptions = Subscriptions(NumberingBus())
        async with Subscription(subscriptions, "room:*", 10) as broadcasts:
            before = counters.value("bus_messages_malformed")
            subscriptions.deliver("room:1", header(event, codec, 1), data)
            subscriptions.deliver("room:1", header("e", JSON, 2), b'{"a":1}')
            async for broadcast in broadcasts:
                assert broadcast.payload == {"a": 1}
                break
            assert counters.value("bus_messages_malformed") == before + 1

    asyncio.run(scenario())
