"""A gateway's hub with one client, on topics that have a history."""

from mesh import Channel, History, SocketHandler
from mesh.bus.frames import BROADCAST, RECORDED, VERSION, Received, Recorded
from mesh.link.commands import HistoryState, Joined, Missed, MissedBroadcast
from mesh.protocol.messages import JSON
from tests.support import hub
from tests.support.hub import WORKER

EPOCH = "k3v9aaaaaaaa"
ELSEWHERE = "another worker, or a script"


class Room(Channel):
    history = History(except_events=("typing",))


class Newest(Room):
    slow_consumer = "latest_only"


class User(SocketHandler):
    channels = {"room:*": Room, "newest:*": Newest}


def recorded(offset, epoch=EPOCH, term=1, origin="", sequence=0):
    return Recorded(epoch, offset, term, origin, sequence)


def header(offset, event="e", recorder=WORKER, number=None, codec=JSON, sender=None, **position):
    """Of a recorded broadcast; its recorder numbers it like the topic, unless `number` is given."""
    number = 1000 + offset if number is None else number
    position = recorded(offset, **position)
    return Received(VERSION, RECORDED, recorder, number, event, codec, sender, None, position)


class Gateway(hub.Gateway):
    """A hub with one client, whose first channel is number 1."""

    def __init__(self, workers=None, **settings):
        super().__init__(workers, User, **settings)

    def original(self, sequence, event="e", origin=ELSEWHERE, sender=None, topic="room:1"):
        """A broadcast as its publisher sent it."""
        self.bus.came.add((origin, sequence))
        made = Received(VERSION, BROADCAST, origin, sequence, event, JSON, sender)
        self.hub.on_broadcast(topic, made, b"{}")

    def record(self, offset, event="e", data=b"{}", topic="room:1", **other):
        """A broadcast as its recorder sent it."""
        made = header(offset, event, **other)
        self.bus.came.add((made.origin, made.sequence))
        self.hub.on_recorded(topic, made, data)

    def claim(self, offset, **other):
        self.record(offset, "", b"", **other)

    def join(self, topic="room:1", number=1, history=False, since=0, client=None, intercepts=()):
        client = client or self.client
        if topic not in client.session.channels:
            self.hub.received(client, b'["1","1","%b","phx_join",{}]' % topic.encode(), False)
        self.hear(Joined(number, intercepts, since, JSON, b"{}", history))

    def resumed(self, number=1):
        """A worker has accepted the channel, which has moved."""
        self.hear(Joined(number, (), 0, JSON, b"{}"))

    def recover(self, offset, count=0, number=1, epoch=EPOCH, recovered=True, fresh=False):
        self.hear(HistoryState(number, epoch, offset, recovered, count, fresh))

    def miss(self, *offsets, number=1, event="m", codec=JSON, data=b"{}"):
        self.hear(Missed(number, [MissedBroadcast(offset, event, codec, data) for offset in offsets]))

    def heard(self, client=None):
        """(ref, event) of what the client has heard since."""
        outbox = (client or self.client).outbox
        messages = [(message[1], message[3]) for message in outbox]
        outbox.clear()
        return messages


def at(*offsets, event="e"):
    """Broadcasts with these positions, as `heard` has them."""
    return [(f"{EPOCH}:{offset}", event) for offset in offsets]


scenario = hub.scenario_with(Gateway)
