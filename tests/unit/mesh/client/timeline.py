"""A client session with a clock of its own, and readers of its actions."""

from mesh.client.actions import Changed, Send, SendJoin
from mesh.client.channel_state import ChannelState
from mesh.client.events import Join, Opened, Received, Start, Tick
from mesh.client.options import Options
from mesh.client.session import Session


class Timeline:
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


def refs(actions):
    return [each.ref for each in actions if isinstance(each, (Send, SendJoin))]


def kinds(actions):
    return [type(each).__name__ for each in actions]


def states(actions):
    return [each.state for each in actions if isinstance(each, Changed)]
