"""mesh/client/session.py: invariants that hold for events in any order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mesh.client.actions import Changed, Connect, Deliver, Failed, Replied, Send, SendJoin
from mesh.client.channel_state import ChannelState, PushState
from mesh.client.events import Closed, Join, Leave, Opened, Push, Received, Start, Stop
from tests.unit.mesh.client.timeline import Timeline


class AnyOrder(RuleBasedStateMachine):
    """Events in any order: every channel and push stays accounted for, and every wait has a deadline."""

    @initialize()
    def begin(self):
        self.timeline = Timeline()
        self.timeline.do(Start())
        self.connecting = True
        self.channels, self.open_pushes = [], {}

    def carry_out(self, actions, now=True):
        for action in actions:
            if isinstance(action, Connect):
                self.connecting = True
            elif isinstance(action, (Replied, Failed)):
                assert self.open_pushes.pop(action.push, None) is not None, "answered twice"
            elif now and isinstance(action, (Send, SendJoin, Deliver)):
                assert self.timeline.session.connected

    @precondition(lambda self: self.connecting and not self.timeline.session.connected)
    @rule(works=st.booleans())
    def connection(self, works):
        self.connecting = False
        self.carry_out(self.timeline.do(Opened() if works else Closed("refused")))

    @precondition(lambda self: self.timeline.session.connected)
    @rule()
    def lost(self):
        self.carry_out(self.timeline.do(Closed("lost")))

    @rule(topic=st.sampled_from(["a", "b"]))
    def join(self, topic):
        channel = ChannelState(topic, 10.0)
        self.channels.append(channel)
        self.carry_out(self.timeline.do(Join(channel)))

    @precondition(lambda self: self.channels)
    @rule(data=st.data())
    def leave(self, data):
        self.carry_out(self.timeline.do(Leave(data.draw(st.sampled_from(self.channels)))))

    @precondition(lambda self: self.channels)
    @rule(data=st.data(), timeout=st.sampled_from([1.0, 10.0, 60.0]))
    def push(self, data, timeout):
        push = PushState(data.draw(st.sampled_from(self.channels)), "e", {}, timeout)
        self.open_pushes[push] = True
        self.carry_out(self.timeline.do(Push(push)))

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
        self.carry_out(self.timeline.do(Received(join_ref, ref, channel.topic, event, payload)))

    @rule(seconds=st.sampled_from([0.01, 1.0, 9.0, 31.0]))
    def time_passes(self, seconds):
        for _, actions in self.timeline.wait(seconds):
            self.carry_out(actions, now=False)

    @invariant()
    def states_are_consistent(self):
        if not hasattr(self, "timeline"):
            return
        session = self.timeline.session
        for channel in self.channels:
            if channel.state in ("joined", "joining", "leaving"):
                assert session.connected
            if channel.state == "joining":
                assert channel.join_deadline is not None, "every wait has a deadline"
            if channel.state == "leaving":
                assert channel.leave_deadline is not None
            if channel.state == "errored" and session.connected:
                assert channel.rejoin_at is not None
            if channel.state == "joined":
                assert not channel.buffer
        for topic in ("a", "b"):
            active = [
                each
                for each in self.channels
                if each.topic == topic and each.state in ("joined", "joining")
            ]
            assert len(active) <= 1
        assert session.connected or self.connecting or session.reconnect_at is not None
        waiting = {push for channel in self.channels for push in (*channel.buffer, *channel.sent.values())}
        assert waiting == set(self.open_pushes)
        assert all(push.deadline is not None for push in waiting)

    def teardown(self):
        """Stop closes exactly the channels that were not closed yet: none was lost, none kept."""
        if not hasattr(self, "timeline"):
            return
        known = [each for each in self.channels if each.state != "closed"]
        actions = self.timeline.do(Stop())
        closed = [each.channel for each in actions if isinstance(each, Changed)]
        assert sorted(map(id, closed)) == sorted(map(id, known))
        self.carry_out(actions)
        assert not self.open_pushes


TestAnyOrder = AnyOrder.TestCase


TestAnyOrder.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
