"""gateway/hub.py: sessions, fan-out, links and bus together, with all of them replaced by lists."""

import pytest

from mesh.debug import SocketInfo
from mesh.link import commands
from mesh.protocol.messages import JSON, Sender
from mesh.telemetry import counters
from tests.support.hub import WORKER, Gateway, scenario_with

scenario = scenario_with(Gateway)


@scenario
def test_what_a_channel_broadcasts_right_after_its_join_follows_the_answer_and_its_own_pushes(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    # the bus is quicker than the link: the broadcast was made after Joined and one push
    gateway.broadcast(1, "after", sender=Sender("g", 1, False, 2))
    assert gateway.events() == []
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    assert gateway.events() == ["phx_reply"]
    gateway.hear(commands.Pushed(1, 0, "pushed", JSON, b"{}"))
    assert gateway.events() == ["phx_reply", "pushed", "after"]
    for sequence in (2, 3):
        gateway.broadcast(sequence, "later", sender=Sender("g", 1, False, 2))
        gateway.hear(commands.Pushed(1, sequence, "pushed", JSON, b"{}"))
    assert gateway.events() == ["phx_reply", "pushed", "after", "later", "pushed", "later", "pushed"]


@scenario
def test_a_broadcast_that_waits_for_the_join_alone_goes_out_with_its_answer(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.broadcast(1, "after", sender=Sender("g", 1, False, 1))
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    assert gateway.events() == ["phx_reply", "after"]
    gateway.hear(commands.Pushed(1, 1, "pushed", JSON, b"{}"))
    gateway.broadcast(2, "later")
    assert gateway.events() == ["phx_reply", "after", "pushed", "later"]


@scenario
def test_a_client_that_goes_ends_its_channels_and_subscriptions(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.say("2", "2", "room:2", "phx_join", {})
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    assert sorted(gateway.bus.subscribed) == [b"room:1\0", b"room:2\0"]
    gateway.hub.disconnected(gateway.client, "closed")
    assert gateway.bus.subscribed == []
    assert gateway.workers.sent[-1] == commands.SocketDown([1, 2], "closed")
    gateway.hear(commands.Joined(2, (), 0, JSON, b"{}"))  # too late: nobody is there
    gateway.broadcast(9, "later")
    assert gateway.events() == ["phx_reply"]


@scenario
def test_a_lost_worker_crashes_joined_channels_and_moves_pending_joins(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    gateway.say("2", "2", "room:2", "phx_join", {})
    joins = [each for each in gateway.workers.sent if isinstance(each, commands.Join)]
    gateway.hub.on_lost(WORKER, False)
    assert gateway.events() == ["phx_reply", "phx_error"]
    again = [each for each in gateway.workers.sent if isinstance(each, commands.Join)]
    assert [each.channel for each in again] == [joins[0].channel, joins[1].channel, joins[1].channel]


@scenario
def test_what_a_dead_worker_left_behind_does_not_hold_up_the_next_join(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.broadcast(
        1, "after", sender=Sender("g", 1, False, 9)
    )  # Joined and the rest died with the worker
    gateway.hub.on_lost(WORKER, False)
    gateway.workers.counts[WORKER] = 0
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    gateway.broadcast(2, "later")
    assert gateway.events() == ["phx_reply", "after", "later"]


@scenario
def test_disconnect_on_an_id_closes_its_sockets_only(gateway):
    mine, other = gateway.connect("users:1").transport, gateway.connect("users:2").transport
    gateway.broadcast(1, "something", topic="users:1")
    assert mine.closed == []
    gateway.broadcast(2, "disconnect", topic="users:1")
    assert (mine.closed, other.closed) == ([1001], [])
    assert gateway.bus.subscribed == [b"users:2\0"]


@scenario
def test_a_local_disconnect_closes_the_sockets_of_this_gateway(gateway):
    mine = gateway.connect("users:1").transport
    gateway.hub.local_broadcast("users:1", "disconnect", {})
    assert mine.closed == [1001]


@scenario
def test_the_clients_and_their_channels_can_be_listed(gateway):
    gateway.connect("users:1")
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    gateway.say("2", "2", "room:2", "phx_join", {})
    assert gateway.hub.sockets() == [
        SocketInfo("/socket", None, "websocket", "v2_json", {"room:1": "joined", "room:2": "joining"}),
        SocketInfo("/socket", "users:1", "websocket", "v2_json", {}),
    ]


def join(gateway, topic, number):
    gateway.say("1", "1", topic, "phx_join", {})
    gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))


@scenario
def test_a_client_is_not_read_from_until_no_channel_asks_for_that(gateway):
    join(gateway, "room:1", 1)
    join(gateway, "room:2", 2)
    transport = gateway.client.transport
    gateway.hear(commands.PushesPaused(1))
    gateway.hear(commands.PushesPaused(2))
    gateway.hear(commands.PushesPaused(2))
    assert transport.paused
    assert gateway.hub.read_pauses.counts() == {"join": 0, "channel": 1, "link": 0}
    gateway.hear(commands.PushesResumed(1))
    gateway.hear(commands.PushesResumed(1))
    assert transport.paused
    gateway.hear(commands.PushesResumed(2))
    assert not transport.paused
    gateway.hear(commands.PushesPaused(1))
    gateway.hear(commands.Crashed(1, 0))  # a channel that is over asks for nothing
    assert not transport.paused


@scenario
def test_nobody_is_read_from_who_has_a_channel_on_a_worker_that_is_behind(gateway):
    join(gateway, "room:1", 1)
    idle = gateway.connect()
    gateway.hub.on_behind(WORKER, True)
    assert gateway.client.transport.paused
    assert not idle.transport.paused
    gateway.hub.received(idle, b'["1","1","room:1","phx_join",{}]', False)
    assert idle.transport.paused
    gateway.hub.disconnected(idle, "closed")
    gateway.hub.on_behind(WORKER, False)
    assert not gateway.client.transport.paused
    assert gateway.hub.read_pauses.counts()["link"] == 0


@scenario
def test_a_worker_that_is_gone_is_not_behind_any_longer(gateway):
    join(gateway, "room:1", 1)
    gateway.hub.on_behind(WORKER, True)
    gateway.hub.on_lost(WORKER, True)
    assert not gateway.client.transport.paused
    join(gateway, "room:2", 2)
    assert not gateway.client.transport.paused


@scenario
def test_a_client_that_is_behind_pauses_its_topics_until_it_has_caught_up(gateway):
    join(gateway, "paced:1", 1)
    join(gateway, "room:1", 2)
    watermark = gateway.client.outbox.watermark
    gateway.workers.sent.clear()
    watermark.update(10_000_000)
    assert gateway.workers.sent == [commands.TopicPaused("paced:1")]
    join(gateway, "paced:2", 3)
    assert gateway.workers.sent[-1] == commands.TopicPaused("paced:2")
    gateway.workers.sent.clear()
    gateway.hub.on_linked("a new worker")
    assert gateway.workers.sent == [commands.TopicPaused("paced:1"), commands.TopicPaused("paced:2")]
    watermark.update(700_000)
    watermark.update(400_000)
    assert gateway.workers.sent[2:] == [commands.TopicResumed("paced:1"), commands.TopicResumed("paced:2")]
    watermark.update(10_000_000)
    gateway.hub.disconnected(gateway.client, "closed")
    assert commands.TopicResumed("paced:2") in gateway.workers.sent[6:]
    assert gateway.client.outbox.watermark is None, "no circle is left"


@scenario
def test_a_topic_goes_on_when_the_last_of_its_slow_clients_has_caught_up(gateway):
    other = gateway.connect()
    join(gateway, "paced:1", 1)
    gateway.hub.received(other, b'["1","1","paced:1","phx_join",{}]', False)
    gateway.hear(commands.Joined(2, (), 0, JSON, b"{}"))
    gateway.workers.sent.clear()
    gateway.client.outbox.watermark.update(10_000_000)
    other.outbox.watermark.update(10_000_000)
    gateway.client.outbox.watermark.update(0)
    assert gateway.workers.sent == [commands.TopicPaused("paced:1")]
    gateway.hub.disconnected(other, "closed")
    assert gateway.workers.sent[1] == commands.TopicResumed("paced:1")


@scenario
def test_a_topic_goes_on_if_its_slow_client_catches_up_while_the_channel_moves(gateway):
    join(gateway, "paced:1", 1)
    gateway.workers.sent.clear()
    watermark = gateway.client.outbox.watermark
    watermark.update(10_000_000)
    gateway.hear(commands.Moving(1))
    watermark.update(0)
    assert [each for each in gateway.workers.sent if type(each) is not commands.Handover] == [
        commands.TopicPaused("paced:1"),
        commands.TopicResumed("paced:1"),
    ]


@scenario
def test_only_classes_that_say_so_have_a_mark(gateway):
    join(gateway, "room:1", 1)
    assert gateway.client.outbox.watermark is None


@pytest.mark.causes_phase_errors
@scenario
def test_an_event_that_cannot_be_ends_that_channel_alone(gateway):
    join(gateway, "room:1", 1)
    join(gateway, "room:2", 2)
    before = counters.value("handlers_failed")
    (channel, _) = gateway.client.session.channels.values()
    gateway.hub.on_unplaceable(channel)  # it has a worker
    assert gateway.client.outbox[-1][2:4] == ["room:1", "phx_error"]
    assert list(gateway.client.session.channels) == ["room:2"]
    assert not gateway.client.transport.closed
    assert counters.value("handlers_failed") == before + 1
    gateway.hub.on_unplaceable(channel)  # it is over
    assert counters.value("handlers_failed") == before + 1
