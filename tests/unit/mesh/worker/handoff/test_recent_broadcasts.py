"""mesh/worker/handoff/recent_broadcasts.py: what an old worker had not heard, the new one finds."""

from mesh import Channel
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.protocol.messages import JSON
from mesh.worker.handoff import recent_broadcasts
from mesh.worker.handoff.recent_broadcasts import RecentBroadcasts


class Plain(Channel):
    intercept = ("secret",)

    def handle_out(self, event, payload): ...


class Mover(Plain):
    def snapshot(self):
        return {}

    def restore(self, state): ...


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def make():
    clock = Clock()
    return RecentBroadcasts(frozenset({"secret"}), clock), clock


def hear(to, sequence, origin="n", topic="room:1", event="secret"):
    to.add(topic, Header(VERSION, BROADCAST, origin, sequence, event, JSON), b"{}")


def numbers(of, seen, topic="room:1"):
    return [(header.origin, header.sequence) for header, _ in of.after(topic, seen)]


def test_only_a_class_that_intercepts_and_moves_costs_anything():
    assert RecentBroadcasts.of([Channel, Plain]) is None
    assert RecentBroadcasts.of([Channel, Mover]) is not None


def test_what_the_old_worker_had_not_heard_is_found_in_order():
    old, new = make()[0], make()[0]
    for each in (old, new):
        hear(each, 1)
        hear(each, 7, "m")
        hear(each, 3, topic="room:2")
        hear(each, 4, event="open")
    hear(new, 2)
    hear(new, 8, "m")
    hear(new, 1, "fresh")
    assert numbers(new, old.seen("room:1")) == [("n", 2), ("m", 8), ("fresh", 1)]
    assert numbers(old, new.seen("room:1")) == [], "what only the old one heard is done"


def test_of_an_origin_that_the_old_worker_forgot_old_broadcasts_are_not_new():
    new, clock = make()
    hear(new, 1)
    hear(new, 1, "m")
    clock.now += recent_broadcasts.MISSED_SECONDS + 1
    assert numbers(new, {}) == []
    assert numbers(new, {"n": 0}) == [("n", 1)]


def test_what_is_kept_is_bounded_by_age_number_and_size(monkeypatch):
    kept, clock = make()
    hear(kept, 1)
    clock.now += recent_broadcasts.KEPT_SECONDS + 1
    hear(kept, 2)
    assert kept.seen("room:1") == {"n": 2}
    assert numbers(kept, {}) == [("n", 2)]
    monkeypatch.setattr(recent_broadcasts, "MAX_KEPT", 3)
    for sequence in range(3, 10):
        hear(kept, sequence)
    assert numbers(kept, {}) == [("n", 7), ("n", 8), ("n", 9)]
    monkeypatch.setattr(recent_broadcasts, "MAX_BYTES", 4)
    hear(kept, 10)
    assert numbers(kept, {}) == [("n", 9), ("n", 10)]
