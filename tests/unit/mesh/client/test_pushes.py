"""mesh/client/session.py: pushes, their replies, and events of the server."""

import pytest

from mesh.client.actions import Deliver, Failed, Replied, Send
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.events import Closed, Forget, Join, Opened, Push, Received
from tests.unit.mesh.client.timeline import Timeline, kinds, refs


def test_a_push_is_replied_to_once(timeline):
    channel = timeline.joined()
    push = PushState(channel, "e", {"a": 1}, 10.0)
    assert timeline.do(Push(push)) == [Send("1", "2", "room:1", "e", {"a": 1})]
    assert timeline.reply("2", "error", {"reason": "bad"}, join_ref="1") == [
        Replied(push, "error", {"reason": "bad"})
    ]
    assert timeline.reply("2", join_ref="1") == []
    assert timeline.wait(20) == []


def test_buffered_pushes_are_sent_in_order_after_the_join_with_a_new_timeout(timeline):
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    pushes = [PushState(channel, str(number), {}, 5.0) for number in range(3)]
    for push in pushes:
        assert timeline.do(Push(push)) == []
    timeline.wait(4)
    actions = timeline.reply("1", join_ref="1")
    assert [each.event for each in actions if isinstance(each, Send)] == ["0", "1", "2"]
    assert timeline.wait(4.9) == []
    assert timeline.wait(0.1)[0][1] == [Failed(push, "timeout") for push in pushes]


def test_a_buffered_push_that_times_out_is_not_sent(timeline):
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    push = PushState(channel, "e", {}, 5.0)
    timeline.do(Push(push))
    assert timeline.wait(5) == [(5, [Failed(push, "timeout")])]
    assert not [each for each in timeline.reply("1", join_ref="1") if isinstance(each, Send)]


def test_the_number_of_buffered_pushes_is_bounded():
    timeline = Timeline(max_buffered=2)
    timeline.open()
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    pushes = [PushState(channel, "e", {}, 5.0) for _ in range(3)]
    assert [timeline.do(Push(push)) for push in pushes] == [[], [], [Failed(pushes[2], "full")]]


@pytest.mark.parametrize("event", [Closed("lost"), Received("1", "1", "room:1", "phx_error", {})])
def test_a_sent_push_fails_with_its_channel_and_a_buffered_one_does_not(timeline, event):
    channel = timeline.joined()
    sent, waiting = PushState(channel, "sent", {}, 60.0), PushState(channel, "waiting", {}, 60.0)
    timeline.do(Push(sent))
    assert Failed(sent, "lost") in timeline.do(event)
    assert timeline.do(Push(waiting)) == []
    timeline.wait(1)
    if not timeline.session.connected:
        timeline.do(Opened())
    actions = timeline.reply(channel.join_ref, join_ref=channel.join_ref)
    assert [each.event for each in actions if isinstance(each, Send)] == ["waiting"]


def test_a_forgotten_push_is_not_sent_and_its_reply_is_ignored(timeline):
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    push = PushState(channel, "e", {}, 5.0)
    timeline.do(Push(push))
    timeline.do(Forget(push))
    assert refs(timeline.reply("1", join_ref="1")) == []
    timeline.do(Push(push))
    timeline.do(Forget(push))
    assert timeline.reply(push.ref, join_ref="1") == []
    assert timeline.wait(10) == []


def test_a_cast_is_sent_and_not_tracked(timeline):
    channel = timeline.joined()
    cast = PushState(channel, "e", {}, 5.0, wants_reply=False)
    assert kinds(timeline.do(Push(cast))) == ["Send"]
    assert channel.sent == {}
    assert timeline.wait(10) == []


def test_a_push_on_a_closed_channel_fails(timeline):
    channel = ChannelState("room:1", 10.0)
    push = PushState(channel, "e", {}, 5.0)
    assert timeline.do(Push(push)) == [Failed(push, "closed")]


def test_events_reach_the_channel_of_their_topic(timeline):
    one, two = timeline.joined("room:1"), timeline.joined("room:2")
    assert timeline.do(Received(None, None, "room:2", "new_msg", {"n": 1})) == [
        Deliver(two, "new_msg", {"n": 1})
    ]
    assert timeline.do(Received(one.join_ref, None, "room:1", "pushed", b"\x00")) == [
        Deliver(one, "pushed", b"\x00")
    ]
    assert timeline.do(Received(None, None, "room:3", "new_msg", {})) == []


@pytest.mark.parametrize(
    "message",
    [
        Received(None, None, 7, "e", {}),
        Received(None, None, "room:1", 7, {}),
        Received(None, None, "room:1", ["e"], {}),
        Received([], {}, "room:1", "phx_reply", {"status": "ok"}),
        Received("1", [], "room:1", "phx_reply", {"status": "ok"}),
        Received("1", "1", "room:1", "phx_reply", 7),
        Received("1", "1", "room:1", "phx_reply", {"status": 7}),
        Received(None, [], "phoenix", "phx_reply", {}),
        Received(None, None, None, None, None),
    ],
)
def test_a_malformed_message_is_ignored(timeline, message):
    timeline.joined()
    assert timeline.do(message) == []
