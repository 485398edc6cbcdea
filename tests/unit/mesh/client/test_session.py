"""mesh/client/session.py: what follows from what, without a loop. Times are phoenix.js's."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh.client.actions import (
    Changed,
    Connect,
    Deliver,
    Disconnect,
    Failed,
    Joined,
    JoinTimedOut,
    Refused,
    Replied,
    Send,
    SendJoin,
)
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.events import Closed, Forget, Join, Leave, Opened, Push, Received, Start, Stop, Tick
from mesh.client.options import Options, step
from mesh.client.session import Session
from mesh.errors import SettingsError


class Story:
    """A session and its clock."""

    def __init__(self, **options):
        self.session = Session(Options(**options))
        self.now = 0.0

    def do(self, event):
        return self.session.handle(event, self.now)

    def wait(self, seconds):
        """Let time pass, tick by tick; returns (time, actions) of each tick that did something."""
        end, happened = self.now + seconds, []
        while (deadline := self.session.deadline) is not None and deadline <= end:
            self.now = deadline
            actions = self.do(Tick())
            if actions:
                happened.append((round(self.now, 3), actions))
        self.now = end
        return happened

    def open(self):
        self.do(Start())
        return self.do(Opened())

    def reply(self, ref, status="ok", response=None, join_ref=None, topic="room:1"):
        payload = {"status": status, "response": {} if response is None else response}
        return self.do(Received(join_ref, ref, topic, "phx_reply", payload))

    def joined(self, topic="room:1", timeout=10.0):
        channel = ChannelState(topic, timeout)
        self.do(Join(channel))
        self.reply(channel.join_ref, join_ref=channel.join_ref, topic=topic)
        assert channel.state == "joined"
        return channel


@pytest.fixture
def story():
    made = Story()
    made.open()
    return made


def refs(actions):
    return [each.ref for each in actions if isinstance(each, (Send, SendJoin))]


def kinds(actions):
    return [type(each).__name__ for each in actions]


def states(actions):
    return [each.state for each in actions if isinstance(each, Changed)]


# The connection


def test_a_client_connects_and_again_after_each_failure_as_phoenix_js_does():
    story = Story()
    assert story.do(Start()) == [Connect()]
    waits = []
    for _ in range(12):
        assert story.do(Closed("refused")) == []
        ((when, actions),) = story.wait(5)
        assert actions == [Connect()]
        waits.append(round(when - (story.now - 5), 3))
    assert waits == [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5, 5, 5]
    story.do(Opened())
    story.do(Closed("lost"))
    assert story.wait(0.01)[0][1] == [Connect()], "a connection that opened starts the steps anew"


def test_a_heartbeat_every_thirty_seconds_after_the_answer(story):
    ((when, (beat,)),) = story.wait(30)
    assert (when, beat) == (30, Send(None, beat.ref, "phoenix", "heartbeat", {}))
    story.now = 31
    assert story.reply(beat.ref, topic="phoenix") == []
    assert [when for when, _ in story.wait(30)] == [61]


def test_a_heartbeat_without_an_answer_ends_the_connection(story):
    channel = story.joined()
    happened = story.wait(61)
    assert happened[1] == (
        60,
        [Disconnect(1000, "heartbeat timeout"), Changed(channel, "errored", "heartbeat timeout")],
    )
    assert happened[2] == (60.01, [Connect()])
    assert not story.session.connected


def test_an_answer_to_an_old_heartbeat_counts_for_nothing(story):
    ((_, (beat,)),) = story.wait(30)
    assert story.reply("999", topic="phoenix") == []
    assert any(isinstance(each, Disconnect) for _, actions in story.wait(31) for each in actions)
    assert beat.ref != "999"


# Joining


def test_a_join_and_its_reply(story):
    channel = ChannelState("room:1", 10.0)
    changed, send = story.do(Join(channel))
    assert (changed, send) == (Changed(channel, "joining", ""), SendJoin(channel, "1"))
    actions = story.reply("1", response={"hi": 1}, join_ref="1")
    assert actions == [Joined(channel, {"hi": 1}), Changed(channel, "joined", "")]
    assert story.wait(29) == []


def test_a_first_join_that_is_refused_closes_the_channel(story):
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    actions = story.reply("1", "error", {"reason": "no"}, join_ref=None)
    assert actions == [Refused(channel, {"reason": "no"}), Changed(channel, "closed", "refused")]
    assert story.wait(29) == []


def test_a_first_join_that_is_not_answered_leaves_and_closes(story):
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    ((when, actions),) = story.wait(20)
    assert when == 10
    assert actions[:2] == [Send("1", "2", "room:1", "phx_leave", {}), JoinTimedOut(channel)]
    assert states(actions) == ["closed"]
    assert story.reply("1", join_ref="1") == [], "too late"


def test_a_join_without_a_connection_is_sent_when_there_is_one():
    story = Story()
    story.do(Start())
    channel = ChannelState("room:1", 10.0)
    assert story.do(Join(channel)) == []
    assert SendJoin(channel, "1") in story.do(Opened())


def test_a_join_without_a_connection_times_out():
    story = Story()
    story.do(Start())
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    assert story.wait(10) == [
        (10, [JoinTimedOut(channel), Changed(channel, "closed", "the join was not answered in time")])
    ]


def test_a_crashed_channel_joins_again_after_1_2_5_10_10_seconds(story):
    channel = story.joined()
    waits = []
    assert states(story.do(Received("1", "1", "room:1", "phx_error", {}))) == ["errored"]
    for _ in range(5):
        start = story.now
        while channel.state == "errored":
            story.wait(1)
        waits.append(story.now - start)
        actions = story.reply(channel.join_ref, "error", {"reason": "no"}, join_ref=channel.join_ref)
        assert actions == [Refused(channel, {"reason": "no"}), Changed(channel, "errored", "refused")]
        story.session.heartbeat_at = story.session.heartbeat_by = None
    assert waits == [1, 2, 5, 10, 10]
    story.wait(10)
    story.reply(channel.join_ref, join_ref=channel.join_ref)
    story.do(Received(channel.join_ref, channel.join_ref, "room:1", "phx_error", {}))
    assert [type(each) for each in story.wait(1)[-1][1]] == [Changed, SendJoin], "the steps start anew"


def test_a_rejoin_that_is_not_answered_leaves_and_is_tried_again(story):
    channel = story.joined()
    story.do(Received("1", "1", "room:1", "phx_error", {}))
    story.wait(1)
    (when, actions), *_ = story.wait(10.5)
    assert when == 11
    assert kinds(actions) == ["Send", "JoinTimedOut", "Changed"]
    assert channel.state == "errored"
    assert kinds(story.wait(2)[0][1]) == ["Changed", "SendJoin"]


def test_a_lost_connection_joins_every_channel_again_at_once_when_it_is_back(story):
    one, two = story.joined("room:1"), story.joined("room:2")
    assert states(story.do(Closed("lost"))) == ["errored", "errored"]
    story.wait(0.01)
    sent = [each for each in story.do(Opened()) if isinstance(each, SendJoin)]
    assert [each.channel for each in sent] == [one, two]
    assert len({one.join_ref, two.join_ref, "1", "2"}) == 4, "new refs"


def test_a_second_channel_on_a_topic_leaves_the_first(story):
    first = story.joined()
    second = ChannelState("room:1", 10.0)
    actions = story.do(Join(second))
    assert kinds(actions) == ["Send", "Changed", "Changed", "SendJoin"]
    assert (first.state, second.state) == ("leaving", "joining")
    story.reply(second.join_ref, join_ref=second.join_ref)
    assert story.do(Received("1", "1", "room:1", "phx_close", {})) == [Changed(first, "closed", "left")]
    assert second.state == "joined"


def test_what_carries_an_older_join_ref_is_for_nobody(story):
    channel = story.joined()
    for event in ("phx_close", "phx_error", "pushed"):
        assert story.do(Received("77", None, "room:1", event, {})) == []
    assert story.reply("1", join_ref="77") == []
    assert channel.state == "joined"


# Leaving


def test_leave_waits_for_the_answer(story):
    channel = story.joined()
    send, changed = story.do(Leave(channel))
    assert (send.event, changed) == ("phx_leave", Changed(channel, "leaving", "left"))
    assert story.do(Received(None, None, "room:1", "new_msg", {})) == []
    assert story.do(Leave(channel)) == []
    assert story.reply(send.ref, join_ref="1") == [Changed(channel, "closed", "left")]


@pytest.mark.parametrize("how", ["time-out", "connection", "crash"])
def test_leave_ends_in_any_case(story, how):
    channel = story.joined()
    story.do(Leave(channel))
    if how == "time-out":
        ((when, actions),) = story.wait(15)
        assert when == 10
    elif how == "connection":
        actions = story.do(Closed("lost"))
    else:
        actions = story.do(Received("1", "1", "room:1", "phx_error", {}))
    assert states(actions) == ["closed"]


def test_leave_while_joining_or_errored_is_immediate(story):
    joining = ChannelState("room:1", 10.0)
    story.do(Join(joining))
    actions = story.do(Leave(joining))
    assert (kinds(actions), states(actions)) == (["Send", "Changed"], ["closed"])
    errored = story.joined("room:2")
    story.do(Received(errored.join_ref, None, "room:2", "phx_error", {}))
    assert story.do(Leave(errored)) == [Changed(errored, "closed", "left")]
    assert story.wait(20) == []


def test_the_server_may_close_a_channel(story):
    channel = story.joined()
    push = PushState(channel, "e", {}, 10.0)
    story.do(Push(push))
    actions = story.do(Received("1", "1", "room:1", "phx_close", {}))
    assert actions == [Failed(push, "closed"), Changed(channel, "closed", "closed by the server")]


def test_stop_closes_everything_for_good(story):
    channel = story.joined()
    push = PushState(channel, "e", {}, 10.0)
    story.do(Push(push))
    assert story.do(Stop()) == [
        Failed(push, "closed"),
        Changed(channel, "closed", "the client was closed"),
        Disconnect(1000, ""),
    ]
    assert story.do(Closed("closed")) == []
    assert story.wait(100) == []


# Pushes and events


def test_a_push_and_its_reply(story):
    channel = story.joined()
    push = PushState(channel, "e", {"a": 1}, 10.0)
    assert story.do(Push(push)) == [Send("1", "2", "room:1", "e", {"a": 1})]
    assert story.reply("2", "error", {"reason": "bad"}, join_ref="1") == [
        Replied(push, "error", {"reason": "bad"})
    ]
    assert story.reply("2", join_ref="1") == []
    assert story.wait(20) == []


def test_pushes_wait_for_the_join_in_order_and_their_time_starts_anew(story):
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    pushes = [PushState(channel, str(number), {}, 5.0) for number in range(3)]
    for push in pushes:
        assert story.do(Push(push)) == []
    story.wait(4)
    actions = story.reply("1", join_ref="1")
    assert [each.event for each in actions if isinstance(each, Send)] == ["0", "1", "2"]
    assert story.wait(4.9) == []
    assert story.wait(0.1)[0][1] == [Failed(push, "timeout") for push in pushes]


def test_a_push_that_waits_too_long_is_not_sent(story):
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    push = PushState(channel, "e", {}, 5.0)
    story.do(Push(push))
    assert story.wait(5) == [(5, [Failed(push, "timeout")])]
    assert not [each for each in story.reply("1", join_ref="1") if isinstance(each, Send)]


def test_a_bounded_number_of_pushes_waits():
    story = Story(max_buffered=2)
    story.open()
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    pushes = [PushState(channel, "e", {}, 5.0) for _ in range(3)]
    assert [story.do(Push(push)) for push in pushes] == [[], [], [Failed(pushes[2], "full")]]


@pytest.mark.parametrize("event", [Closed("lost"), Received("1", "1", "room:1", "phx_error", {})])
def test_a_sent_push_is_lost_with_its_channel_and_a_waiting_one_is_not(story, event):
    channel = story.joined()
    sent, waiting = PushState(channel, "sent", {}, 60.0), PushState(channel, "waiting", {}, 60.0)
    story.do(Push(sent))
    assert Failed(sent, "lost") in story.do(event)
    assert story.do(Push(waiting)) == []
    story.wait(1)
    if not story.session.connected:
        story.do(Opened())
    actions = story.reply(channel.join_ref, join_ref=channel.join_ref)
    assert [each.event for each in actions if isinstance(each, Send)] == ["waiting"]


def test_a_forgotten_push_is_not_sent_and_its_reply_not_heard(story):
    channel = ChannelState("room:1", 10.0)
    story.do(Join(channel))
    push = PushState(channel, "e", {}, 5.0)
    story.do(Push(push))
    story.do(Forget(push))
    assert refs(story.reply("1", join_ref="1")) == []
    story.do(Push(push))
    story.do(Forget(push))
    assert story.reply(push.ref, join_ref="1") == []
    assert story.wait(10) == []


def test_what_wants_no_reply_is_sent_and_forgotten(story):
    channel = story.joined()
    cast = PushState(channel, "e", {}, 5.0, wants_reply=False)
    assert kinds(story.do(Push(cast))) == ["Send"]
    assert channel.sent == {}
    assert story.wait(10) == []


def test_a_closed_channel_takes_no_push(story):
    channel = ChannelState("room:1", 10.0)
    push = PushState(channel, "e", {}, 5.0)
    assert story.do(Push(push)) == [Failed(push, "closed")]


def test_events_reach_the_channel_of_their_topic(story):
    one, two = story.joined("room:1"), story.joined("room:2")
    assert story.do(Received(None, None, "room:2", "new_msg", {"n": 1})) == [
        Deliver(two, "new_msg", {"n": 1})
    ]
    assert story.do(Received(one.join_ref, None, "room:1", "pushed", b"\x00")) == [
        Deliver(one, "pushed", b"\x00")
    ]
    assert story.do(Received(None, None, "room:3", "new_msg", {})) == []


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
def test_a_senseless_message_does_nothing(story, message):
    story.joined()
    assert story.do(message) == []


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_seconds": 0},
        {"heartbeat_seconds": -1},
        {"reconnect_seconds": ()},
        {"rejoin_seconds": (float("nan"),)},
    ],
)
def test_options_that_cannot_be(options):
    with pytest.raises(SettingsError):
        Options(**options)


def test_the_last_step_is_repeated():
    assert [step((1.0, 2.0), tries) for tries in (1, 2, 3, 99)] == [1, 2, 2, 2]


class AnyStory(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing is lost track of, and nobody waits for ever."""

    @initialize()
    def begin(self):
        self.story = Story()
        self.story.do(Start())
        self.connecting = True
        self.channels, self.open_pushes = [], {}

    def carry_out(self, actions, now=True):
        for action in actions:
            if isinstance(action, Connect):
                self.connecting = True
            elif isinstance(action, (Replied, Failed)):
                assert self.open_pushes.pop(action.push, None) is not None, "answered twice"
            elif now and isinstance(action, (Send, SendJoin, Deliver)):
                assert self.story.session.connected

    @precondition(lambda self: self.connecting and not self.story.session.connected)
    @rule(works=st.booleans())
    def connection(self, works):
        self.connecting = False
        self.carry_out(self.story.do(Opened() if works else Closed("refused")))

    @precondition(lambda self: self.story.session.connected)
    @rule()
    def lost(self):
        self.carry_out(self.story.do(Closed("lost")))

    @rule(topic=st.sampled_from(["a", "b"]))
    def join(self, topic):
        channel = ChannelState(topic, 10.0)
        self.channels.append(channel)
        self.carry_out(self.story.do(Join(channel)))

    @precondition(lambda self: self.channels)
    @rule(data=st.data())
    def leave(self, data):
        self.carry_out(self.story.do(Leave(data.draw(st.sampled_from(self.channels)))))

    @precondition(lambda self: self.channels)
    @rule(data=st.data(), timeout=st.sampled_from([1.0, 10.0, 60.0]))
    def push(self, data, timeout):
        push = PushState(data.draw(st.sampled_from(self.channels)), "e", {}, timeout)
        self.open_pushes[push] = True
        self.carry_out(self.story.do(Push(push)))

    @precondition(lambda self: self.channels)
    @rule(
        data=st.data(),
        event=st.sampled_from(["phx_reply", "phx_error", "phx_close", "other"]),
        status=st.sampled_from(["ok", "error"]),
    )
    def message(self, data, event, status):
        channel = data.draw(st.sampled_from(self.channels))
        ref = data.draw(st.sampled_from([channel.join_ref, channel.leave_ref, None, *channel.sent]))
        join_ref = data.draw(st.sampled_from([channel.join_ref, None, "0"]))
        payload = {"status": status, "response": {}}
        self.carry_out(self.story.do(Received(join_ref, ref, channel.topic, event, payload)))

    @rule(seconds=st.sampled_from([0.01, 1.0, 9.0, 31.0]))
    def time_passes(self, seconds):
        for _, actions in self.story.wait(seconds):
            self.carry_out(actions, now=False)

    @invariant()
    def every_state_is_as_it_should_be(self):
        if not hasattr(self, "story"):
            return
        session = self.story.session
        known = [channel for channels in session._channels.values() for channel in channels]
        for channel in self.channels:
            assert (channel in known) is (channel.state != "closed")
            if channel.state in ("joined", "joining", "leaving"):
                assert session.connected
            if channel.state == "joining":
                assert channel.answer_by is not None, "nobody waits for ever"
            if channel.state == "leaving":
                assert channel.leave_by is not None
            if channel.state == "errored" and session.connected:
                assert channel.rejoin_at is not None
            if channel.state == "joined":
                assert not channel.buffer
        for topic in ("a", "b"):
            active = [
                each for each in session._channels.get(topic, ()) if each.state in ("joined", "joining")
            ]
            assert len(active) <= 1
        assert session.connected or self.connecting or session.reconnect_at is not None
        waiting = {push for channel in self.channels for push in (*channel.buffer, *channel.sent.values())}
        assert waiting == set(self.open_pushes)
        assert all(push.due is not None for push in waiting)


TestAnyStory = AnyStory.TestCase
TestAnyStory.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
