"""gateway/flow/rate_limits.py and bucket.py: what is too much is answered, and waits for its time."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.app.channel import Channel, RateLimit
from mesh.app.routes import Route, RouteTable
from mesh.errors import ChannelError
from mesh.gateway.channels import worker_commands
from mesh.gateway.channels.actions import Forward, Send, SubscribeThenJoin
from mesh.gateway.channels.session import Session
from mesh.gateway.flow.rate_limits import socket_limits
from mesh.gateway.flow.token_bucket import TokenBucket
from mesh.link import commands
from mesh.protocol.serializers.v2_json import V2JSON
from mesh.settings import LimitSettings
from tests.support.gateway_channels import place


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Room(Channel):
    pass


class Slow(Channel):
    rate_limit = RateLimit(per_second=1, burst=2)


class Client:
    """A session with limits, joined to room:1 and slow:1."""

    def __init__(self, **limits):
        self.clock = Clock()
        routes = RouteTable([Route("room:*", Room), Route("slow:*", Slow)])
        limits = socket_limits(LimitSettings(**limits), routes, self.clock)
        self.session = Session(V2JSON(), routes, None, itertools.count(1).__next__, 100, 10_000, limits)
        for topic in ("room:1", "slow:1"):
            (start,) = self.say("1", "1", topic, "phx_join", {})
            place(start.channel)
            worker_commands.joined(
                self.session, start.channel, commands.Joined(start.channel.number, (), 0, 0, b"{}")
            )

    def say(self, *message):
        return self.session.received(msgspec.json.encode(list(message)), False)

    def push(self, topic="room:1", payload=None):
        """Whether it reaches the channel; else the answer."""
        (action,) = self.say("1", "2", topic, "e", payload or {})
        if isinstance(action, Forward):
            return True
        return msgspec.json.decode(action.frame.data)


def test_pushes_of_a_socket_are_counted_over_all_its_channels():
    client = Client(pushes_per_second=10, push_burst=2, joins_per_second=1, join_burst=2)
    assert client.push() is True
    assert client.push("slow:1") is True
    join_ref, ref, topic, event, payload = client.push()
    assert (join_ref, ref, topic, event, payload["status"]) == ("1", "2", "room:1", "phx_reply", "error")
    assert payload["response"] == {"reason": "rate limited", "limit": "pushes", "retry_after_ms": 101}
    client.clock.now += 0.101
    assert client.push() is True


def test_a_channels_own_limit_is_its_alone():
    client = Client()
    assert [client.push("slow:1") is True for _ in range(3)] == [True, True, False]
    assert client.push("room:1") is True
    client.clock.now += 1.0
    assert [client.push("slow:1") is True for _ in range(2)] == [True, False]


def test_joins_are_answered_with_an_error_so_that_the_client_tries_again():
    client = Client(joins_per_second=1, join_burst=2)
    (action,) = client.say("3", "3", "room:2", "phx_join", {})
    assert isinstance(action, Send)
    assert msgspec.json.decode(action.frame.data)[4]["response"]["limit"] == "joins"
    client.clock.now += 1.0
    (action,) = client.say("4", "4", "room:2", "phx_join", {})
    assert isinstance(action, SubscribeThenJoin)


def test_bytes_are_counted_and_one_large_message_passes_a_full_bucket():
    client = Client(bytes_per_second=1_000, byte_burst=500, joins_per_second=1000)
    client.clock.now += 10
    assert client.push(payload={"large": "x" * 2_000}) is True
    answer = client.push()
    assert answer[4]["response"]["limit"] == "bytes"
    assert answer[4]["response"]["retry_after_ms"] > 1_000, "the debt is paid first"


def test_heartbeats_and_leaves_always_pass():
    client = Client(pushes_per_second=0.001, push_burst=1)
    client.push()
    assert client.push() is not True
    (beat,) = client.say(None, "9", "phoenix", "heartbeat", {})
    assert msgspec.json.decode(beat.frame.data)[4]["status"] == "ok"
    (leave,) = client.say("1", "9", "room:1", "phx_leave", {})
    assert isinstance(leave.command, commands.Leave)


def test_without_limits_nothing_is_asked():
    routes = RouteTable([Route("room:*", Room)])
    assert socket_limits(LimitSettings(), routes, Clock()) is None


@pytest.mark.parametrize("values", [(0, 1), (-1, 1), (1, 0.5), (float("nan"), 1)])
def test_a_limit_that_lets_nothing_through_is_refused(values):
    with pytest.raises(ChannelError, match="per_second greater than 0"):
        RateLimit(*values)


def test_a_limit_must_be_one():
    with pytest.raises(ChannelError, match=r"mesh\.RateLimit"):
        type("Wrong", (Channel,), {"rate_limit": 5})


@given(
    st.floats(0.1, 1000),
    st.floats(1, 100),
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 50)), max_size=50),
)
def test_a_bucket_never_gives_more_than_its_rate_and_one_burst(per_second, burst, steps):
    bucket, now, given_out, largest = TokenBucket(per_second, burst, 0.0), 0.0, 0.0, 0.0
    for pause, amount in steps:
        now += pause
        wait = bucket.take(amount, now)
        if wait:
            assert wait > 0
        else:
            given_out += amount
            largest = max(largest, amount)
    assert given_out <= burst + now * per_second + largest + 1e-6
