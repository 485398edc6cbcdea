"""gateway/flow/backlog.py: what may be dropped, what may not, and in which order the rest goes out."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.fanout.delivery_stats import (
    CLIENT_GONE,
    CONFLATED,
    DROPPED_OLDEST,
    DeliveryStats,
    TopicStats,
)
from mesh.gateway.flow.backlog import Backlog, broadcast_frame


class Client:
    """A backlog, and the stats of its topics."""

    def __init__(self):
        self.backlog = Backlog()
        self.route = DeliveryStats()
        self.stats = {
            "kept": TopicStats("kept", "close", 1, self.route),
            "paused": TopicStats("paused", "pause_publisher", 1, self.route),
            "newest": TopicStats("newest", "latest_only", 1, self.route),
            "oldest": TopicStats("oldest", "drop_oldest", 3, self.route),
        }

    def reply(self, text):
        self.backlog.add(text, text.encode())

    def broadcast(self, topic, text, event="e", behind=True):
        stats = self.stats[topic]
        stats.arrive(1)
        stats.queue(1)
        self.backlog.add(text, broadcast_frame(text.encode(), stats, event), behind)

    def waiting(self):
        return list(self.backlog)


def check(stats):
    dropped, filtered = sum(stats.dropped.values()), sum(stats.filtered.values())
    assert stats.expected == stats.delivered + filtered + dropped + stats.held + stats.unsent


def test_of_each_event_of_latest_only_the_newest_takes_the_place_of_the_one_that_waits():
    client = Client()
    for number in range(3):
        client.broadcast("newest", f"a{number}", "a")
        client.broadcast("newest", f"b{number}", "b")
    assert client.waiting() == ["a2", "b2"]
    assert client.backlog.dropped == {CONFLATED: 4}
    assert client.backlog.size == 4
    assert client.route.dropped == {CONFLATED: 4}


def test_the_newest_overtakes_no_reply_and_two_of_an_event_wait_at_most():
    client = Client()
    client.broadcast("newest", "a0")
    for number in range(1, 5):
        client.reply(f"r{number}")
        client.broadcast("newest", f"a{number}")
        client.broadcast("newest", f"A{number}")
    assert client.waiting() == ["a0", "r1", "r2", "r3", "r4", "A4"]


def test_of_drop_oldest_the_oldest_of_the_topic_goes_first():
    client = Client()
    client.broadcast("kept", "k0")
    for number in range(5):
        client.broadcast("oldest", f"o{number}")
        client.reply(f"r{number}")
    assert client.waiting() == ["k0", "r0", "r1", "o2", "r2", "o3", "r3", "o4", "r4"]
    assert client.backlog.dropped == {DROPPED_OLDEST: 2}


def test_over_the_bound_only_what_may_go_goes():
    client = Client()
    client.broadcast("oldest", "oo")
    client.broadcast("kept", "kk")
    client.reply("rr")
    assert client.backlog.trim(4)
    assert client.waiting() == ["kk", "rr"]
    assert not client.backlog.trim(3)
    assert client.waiting() == ["kk", "rr"]


def test_nothing_is_dropped_for_a_client_that_keeps_up():
    client = Client()
    for number in range(5):
        client.broadcast("newest", f"n{number}", behind=False)
        client.broadcast("oldest", f"o{number}", behind=False)
    assert len(client.waiting()) == 10


def test_what_was_sent_in_part_or_is_committed_stays_and_is_first():
    client = Client()
    client.broadcast("newest", "first")
    client.broadcast("oldest", "second")
    assert client.backlog.data(1) == b"first"
    client.backlog.advance(2, committed=4)  # "rst" and the "s" of the second
    for number in range(5):
        client.broadcast("newest", f"n{number}")
        client.broadcast("oldest", f"o{number}")
    client.backlog.trim(0)
    assert client.waiting() == ["first", "second", "n4"]
    assert client.backlog.data(1_000) == b"rstsecondn4"
    assert client.backlog.size == len(b"rstsecondn4")
    client.backlog.advance(len(b"rstsecondn4"))
    assert not client.backlog
    assert client.route.delivered == 3
    check(client.route)


def test_what_is_put_back_comes_first_and_is_not_dropped():
    client = Client()
    client.broadcast("newest", "n0")
    client.backlog.put_back([("x", b"x"), ("y", b"y")])
    client.broadcast("newest", "n1")
    assert client.waiting() == ["x", "y", "n1"]
    assert [client.backlog.pop() for _ in range(3)] == ["x", "y", "n1"]
    assert client.backlog.size == 0


def test_what_is_lost_with_the_client_is_counted_for_its_topic():
    client = Client()
    client.broadcast("kept", "k")
    client.broadcast("newest", "n")
    client.reply("r")
    assert client.route.unsent == 2
    client.backlog.clear(CLIENT_GONE)
    assert client.stats["kept"].dropped == client.stats["newest"].dropped == {CLIENT_GONE: 1}
    assert client.route.unsent == client.route.delivered == 0


TOPICS = st.sampled_from(["reply", "kept", "paused", "newest", "oldest"])
STEPS = st.one_of(
    st.tuples(st.just("add"), TOPICS, st.sampled_from("ab"), st.integers(1, 12)),
    st.tuples(st.just("send"), st.integers(0, 40), st.integers(0, 20)),
    st.tuples(st.just("trim"), st.integers(0, 60)),
)


@given(st.lists(STEPS, max_size=80))
def test_whatever_happens_frames_come_whole_in_order_and_everything_is_counted(steps):
    client = Client()
    added, stream = [], b""
    for number, (kind, *values) in enumerate(steps):
        if kind == "add":
            topic, event, length = values
            text = f"<{number}:{topic}:{event}:{'x' * length}>"
            added.append(text)
            if topic == "reply":
                client.reply(text)
            else:
                client.broadcast(topic, text, event)
        elif kind == "send":
            data = client.backlog.data(values[0])
            sent = min(len(data), values[0])
            stream += data[:sent]
            client.backlog.advance(sent, values[1])
        else:
            client.backlog.trim(values[0])
        assert len(client.backlog._by_topic.get("oldest", ())) <= 3
        assert all(len(each) <= 2 for each in client.backlog._conflatable.values())
        assert client.backlog.size == len(client.backlog.data(10**9))
        assert client.route.unsent == sum(":reply:" not in each for each in client.waiting())
        check(client.route)
    stream += client.backlog.data(10**9)
    client.backlog.advance(10**9)
    got = [each + ">" for each in stream.decode().split(">")[:-1]]
    assert set(got) <= set(added)  # whole frames, made up by nobody
    may_go = ("newest", "oldest")
    kept = [each for each in added if each.split(":")[1] not in may_go]
    assert [each for each in got if each.split(":")[1] not in may_go] == kept
    for topic, event in (("oldest", "a"), ("oldest", "b"), ("newest", "a"), ("newest", "b")):
        of_event = [each for each in added if each.split(":")[1:3] == [topic, event]]
        came = [each for each in got if each.split(":")[1:3] == [topic, event]]
        assert came == [each for each in of_event if each in came]
        if topic == "newest" and of_event:
            assert came[-1] == of_event[-1]
    _check_that_no_value_overtakes_a_reply(added, got)
    assert sum(client.route.dropped.values()) == len(added) - len(got)
    assert client.route.unsent == 0


def _check_that_no_value_overtakes_a_reply(added, got):
    place = {each: number for number, each in enumerate(added)}
    plain = [each for each in got if ":reply:" in each]
    for each in got:
        before = got[: got.index(each)]
        for reply in plain:
            if place[reply] < place[each]:
                assert reply in before
