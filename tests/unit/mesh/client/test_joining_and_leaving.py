"""mesh/client/session.py: joining, rejoining and leaving channels."""

import pytest

from mesh.client.actions import Changed, Disconnect, Failed, Joined, JoinTimedOut, Refused, Send, SendJoin
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.events import Closed, Join, Leave, Opened, Push, Received, Start, Stop
from tests.unit.mesh.client.timeline import Timeline, kinds, states


def test_a_channel_is_joined_when_its_join_is_answered(timeline):
    channel = ChannelState("room:1", 10.0)
    changed, send = timeline.do(Join(channel))
    assert (changed, send) == (Changed(channel, "joining", ""), SendJoin(channel, "1"))
    actions = timeline.reply("1", response={"hi": 1}, join_ref="1")
    assert actions == [Joined(channel, {"hi": 1}), Changed(channel, "joined", "")]
    assert timeline.wait(29) == []


def test_a_first_join_that_is_refused_closes_the_channel(timeline):
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    actions = timeline.reply("1", "error", {"reason": "no"}, join_ref=None)
    assert actions == [Refused(channel, {"reason": "no"}), Changed(channel, "closed", "refused")]
    assert timeline.wait(29) == []


def test_a_first_join_that_times_out_sends_a_leave_and_closes_the_channel(timeline):
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    ((when, actions),) = timeline.wait(20)
    assert when == 10
    assert actions[:2] == [Send("1", "2", "room:1", "phx_leave", {}), JoinTimedOut(channel)]
    assert states(actions) == ["closed"]
    assert timeline.reply("1", join_ref="1") == [], "too late"


def test_a_join_while_disconnected_is_sent_on_connect():
    timeline = Timeline()
    timeline.do(Start())
    channel = ChannelState("room:1", 10.0)
    assert timeline.do(Join(channel)) == []
    assert SendJoin(channel, "1") in timeline.do(Opened())


def test_a_join_while_disconnected_times_out():
    timeline = Timeline()
    timeline.do(Start())
    channel = ChannelState("room:1", 10.0)
    timeline.do(Join(channel))
    assert timeline.wait(10) == [
        (10, [JoinTimedOut(channel), Changed(channel, "closed", "the join was not answered in time")])
    ]


def test_a_crashed_channel_rejoins_after_1_2_5_10_10_seconds(timeline):
    channel = timeline.joined()
    waits = []
    assert states(timeline.do(Received("1", "1", "room:1", "phx_error", {}))) == ["errored"]
    for _ in range(5):
        start = timeline.now
        while channel.state == "errored":
            timeline.wait(1)
        waits.append(timeline.now - start)
        actions = timeline.reply(channel.join_ref, "error", {"reason": "no"}, join_ref=channel.join_ref)
        assert actions == [Refused(channel, {"reason": "no"}), Changed(channel, "errored", "refused")]
        timeline.session.heartbeat_at = timeline.session.heartbeat_deadline = None
    assert waits == [1, 2, 5, 10, 10]
    timeline.wait(10)
    timeline.reply(channel.join_ref, join_ref=channel.join_ref)
    timeline.do(Received(channel.join_ref, channel.join_ref, "room:1", "phx_error", {}))
    assert [type(each) for each in timeline.wait(1)[-1][1]] == [Changed, SendJoin], (
        "the intervals are reset"
    )


def test_a_rejoin_that_times_out_sends_a_leave_and_is_retried(timeline):
    channel = timeline.joined()
    timeline.do(Received("1", "1", "room:1", "phx_error", {}))
    timeline.wait(1)
    (when, actions), *_ = timeline.wait(10.5)
    assert when == 11
    assert kinds(actions) == ["Send", "JoinTimedOut", "Changed"]
    assert channel.state == "errored"
    assert kinds(timeline.wait(2)[0][1]) == ["Changed", "SendJoin"]


def test_every_channel_rejoins_at_once_after_a_reconnect(timeline):
    one, two = timeline.joined("room:1"), timeline.joined("room:2")
    assert states(timeline.do(Closed("lost"))) == ["errored", "errored"]
    timeline.wait(0.01)
    sent = [each for each in timeline.do(Opened()) if isinstance(each, SendJoin)]
    assert [each.channel for each in sent] == [one, two]
    assert len({one.join_ref, two.join_ref, "1", "2"}) == 4, "new refs"


def test_a_second_channel_on_a_topic_leaves_the_first(timeline):
    first = timeline.joined()
    second = ChannelState("room:1", 10.0)
    actions = timeline.do(Join(second))
    assert kinds(actions) == ["Send", "Changed", "Changed", "SendJoin"]
    assert (first.state, second.state) == ("leaving", "joining")
    timeline.reply(second.join_ref, join_ref=second.join_ref)
    assert timeline.do(Received("1", "1", "room:1", "phx_close", {})) == [Changed(first, "closed", "left")]
    assert second.state == "joined"


def test_messages_with_a_stale_join_ref_are_ignored(timeline):
    channel = timeline.joined()
    for event in ("phx_close", "phx_error", "pushed"):
        assert timeline.do(Received("77", None, "room:1", event, {})) == []
    assert timeline.reply("1", join_ref="77") == []
    assert channel.state == "joined"


def test_leave_waits_for_the_answer(timeline):
    channel = timeline.joined()
    send, changed = timeline.do(Leave(channel))
    assert (send.event, changed) == ("phx_leave", Changed(channel, "leaving", "left"))
    assert timeline.do(Received(None, None, "room:1", "new_msg", {})) == []
    assert timeline.do(Leave(channel)) == []
    assert timeline.reply(send.ref, join_ref="1") == [Changed(channel, "closed", "left")]


@pytest.mark.parametrize("how", ["time-out", "connection", "crash"])
def test_a_leave_ends_without_an_answer(timeline, how):
    channel = timeline.joined()
    timeline.do(Leave(channel))
    if how == "time-out":
        ((when, actions),) = timeline.wait(15)
        assert when == 10
    elif how == "connection":
        actions = timeline.do(Closed("lost"))
    else:
        actions = timeline.do(Received("1", "1", "room:1", "phx_error", {}))
    assert states(actions) == ["closed"]


def test_leave_while_joining_or_errored_is_immediate(timeline):
    joining = ChannelState("room:1", 10.0)
    timeline.do(Join(joining))
    actions = timeline.do(Leave(joining))
    assert (kinds(actions), states(actions)) == (["Send", "Changed"], ["closed"])
    errored = timeline.joined("room:2")
    timeline.do(Received(errored.join_ref, None, "room:2", "phx_error", {}))
    assert timeline.do(Leave(errored)) == [Changed(errored, "closed", "left")]
    assert timeline.wait(20) == []


def test_the_server_may_close_a_channel(timeline):
    channel = timeline.joined()
    push = PushState(channel, "e", {}, 10.0)
    timeline.do(Push(push))
    actions = timeline.do(Received("1", "1", "room:1", "phx_close", {}))
    assert actions == [Failed(push, "closed"), Changed(channel, "closed", "closed by the server")]


def test_stop_closes_channels_and_connection_for_good(timeline):
    channel = timeline.joined()
    push = PushState(channel, "e", {}, 10.0)
    timeline.do(Push(push))
    assert timeline.do(Stop()) == [
        Failed(push, "closed"),
        Changed(channel, "closed", "the client was closed"),
        Disconnect(1000, ""),
    ]
    assert timeline.do(Closed("closed")) == []
    assert timeline.wait(100) == []
