"""A hub whose client has a channel on a worker that drains, and another worker to move it to."""

import json

from mesh.link.commands import Handover, Joined, Moved, Moving, Push
from mesh.protocol.messages import JSON, MSGPACK
from tests.support import hub

OLD, NEW = hub.WORKER, "new"


MOVED = Moved(1, 0, b"assigns", b"state")


class TwoWorkers(hub.Workers):
    """Place on the old one until it drains, then on those in `others`; `sent` says to whom."""

    def __init__(self):
        super().__init__()
        self.at, self.others, self.waiting = OLD, [NEW], []
        self.counts[NEW] = 0

    def place(self, mount, channel, key):
        if self.at == OLD:
            return OLD
        if self.others:
            return self.others[0]
        self.waiting.append(channel)
        return None

    def mark_draining(self, worker):
        assert worker == OLD
        self.at = NEW

    def send(self, worker, command):
        self.sent.append((worker, command))

    def forget(self, channel):
        self.waiting = [each for each in self.waiting if each is not channel]


class Gateway(hub.Gateway):
    """A hub with one client, joined to room:1, its channel 1 on the old worker."""

    def __init__(self):
        super().__init__(TwoWorkers(), max_pending_bytes=1_000)
        self.say("1", "1", "room:1", "phx_join", {})
        self.hear(Joined(1, (), 5, JSON, b"{}"), OLD)
        self.client.outbox.clear()
        self.sent()

    def sent(self):
        """What workers were sent since."""
        sent, self.workers.sent = self.workers.sent, []
        return sent

    def push(self, number):
        self.say("1", str(number), "room:1", "e", {"n": number})

    def begin(self):
        self.hear(Moving(1), OLD)
        assert self.sent() == [(OLD, Handover(1))]

    def placed(self):
        """Until the new worker has what the old one gave."""
        self.begin()
        self.hear(MOVED, OLD)
        ((worker, join),) = self.sent()
        assert (worker, join.channel, join.topic, join.moved) == (NEW, 1, "room:1", True)
        assert (join.assigns, join.codec, join.data) == (b"assigns", MSGPACK, b"state")

    def arrive(self, intercepts=()):
        self.hear(Joined(1, intercepts, 77, JSON, b"{}"), NEW)


scenario = hub.scenario_with(Gateway)


def pushes(sent):
    return [(worker, json.loads(each.data)["n"]) for worker, each in sent if isinstance(each, Push)]
