"""gateway/flow/outbox.py with sockets that take what they like: policies, TLS, and that everything is counted."""

import asyncio
import ssl
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.fanout.delivery_stats import (
    CLIENT_GONE,
    CONFLATED,
    SLOW_CLIENT,
    DeliveryStats,
    TopicStats,
)
from mesh.gateway.flow.backlog import broadcast_frame
from mesh.gateway.flow.outbox import Flusher, Outbox


class Socket:
    """Takes as many bytes of a send as it has room for; none, and it would block; None: it is broken."""

    def __init__(self, fileno):
        self._fileno = fileno
        self.room = 10**9
        self.taken = b""

    def fileno(self):
        return self._fileno

    def send(self, data):
        if self.room is None:
            raise ConnectionResetError
        taken = bytes(data[: self.room])
        if not taken:
            raise BlockingIOError
        self.taken += taken
        self.room -= len(taken)
        return len(taken)


class TLS(Socket, ssl.SSLSocket):
    """As OpenSSL: what would block is encrypted already, and the same bytes must come again."""

    __new__ = object.__new__

    def __init__(self, fileno):
        Socket.__init__(self, fileno)
        self._record = b""

    def __del__(self): ...

    def send(self, data):
        data = bytes(data)
        if self._record:
            assert data.startswith(self._record), "bad write retry"
        record = self._record or data[:16_384]
        if not self.room:
            self._record = record
            raise ssl.SSLWantWriteError
        self._record = b""
        self.taken += record
        self.room = max(0, self.room - len(record))
        return len(record)


class Client:
    def __init__(self, kind=Socket, max_unsent_bytes=10**9):
        self.sock = kind(_free_descriptor())
        self.flusher = Flusher()
        self.overflows, self.errors, self.stalls = [], [], []
        self.route = DeliveryStats()
        self.stats = {
            "close": TopicStats("close", "close", 1, self.route),
            "newest": TopicStats("newest", "latest_only", 1, self.route),
            "oldest": TopicStats("oldest", "drop_oldest", 3, self.route),
        }
        self.outbox = Outbox(
            self.flusher,
            self.sock,
            max_unsent_bytes,
            self.overflows.append,
            lambda: self.errors.append(1),
            lambda dropped: self.stalls.append(Counter(dropped)),
        )

    def broadcast(self, topic, text, event="e"):
        stats = self.stats[topic]
        stats.arrive(1)
        stats.queue(1)
        self.outbox.send(broadcast_frame(text.encode(), stats, event))

    def check(self):
        whole = self.route
        assert whole.expected == whole.delivered + sum(whole.dropped.values()) + whole.unsent


def _free_descriptor():
    return Loop.numbers.pop()


class Loop:
    """As much of an event loop as an outbox needs, so that thousands of stories run in a second."""

    numbers = list(range(10_000, 0, -1))

    def __init__(self):
        self.writers = {}

    def call_soon(self, callback): ...

    def add_writer(self, fileno, callback):
        self.writers[fileno] = callback

    def remove_writer(self, fileno):
        del self.writers[fileno]


def story(test):
    def run(*args):
        Loop.numbers = list(range(10_000, 0, -1))
        loop, real = Loop(), asyncio.get_running_loop
        asyncio.get_running_loop = lambda: loop
        try:
            test(loop, *args)
        finally:
            asyncio.get_running_loop = real

    run.__name__ = test.__name__
    return run


@story
def test_a_stall_is_told_once_at_its_end_with_what_it_cost(loop):
    client = Client()
    client.sock.room = 4
    for number in range(10):
        client.broadcast("newest", f"v{number}")
    client.flusher.flush()
    assert client.outbox.blocked
    for number in range(10, 13):
        client.broadcast("newest", f"v{number}")
    assert client.stalls == []
    client.sock.room = 10**9
    client.outbox.flush()
    assert client.sock.taken == b"v0v1v12"
    assert client.stalls == [{CONFLATED: 10}]
    assert client.outbox.empty
    assert loop.writers == {}
    client.check()


def test_what_is_lost_with_a_broken_or_slow_client_is_counted_by_reason():
    _lost_with(CLIENT_GONE)
    _lost_with(SLOW_CLIENT)


@story
def _lost_with(loop, reason):
    client = Client(max_unsent_bytes=10)
    client.sock.room = 3 if reason == SLOW_CLIENT else None
    client.broadcast("close", "first")
    client.broadcast("close", "second-second")
    client.flusher.flush()
    client.broadcast("close", "later")
    assert client.route.dropped == {reason: 3}
    assert client.route.delivered == client.route.unsent == 0
    assert (len(client.overflows), len(client.errors)) == ((1, 0) if reason == SLOW_CLIENT else (0, 1))
    assert loop.writers == {}


@story
def test_openssl_is_given_again_what_it_has_encrypted_although_it_may_be_dropped(loop):
    client = Client(TLS)
    client.sock.room = 0
    client.broadcast("newest", "a" * 10)
    client.broadcast("newest", "b" * 20_000)
    client.broadcast("newest", "c" * 20_000)
    client.flusher.flush()
    for number in range(5):
        client.broadcast("newest", f"n{number}")
        client.outbox.flush()
    client.sock.room = 10**9
    while not client.outbox.empty:
        client.outbox.flush()
    assert client.sock.taken == b"a" * 10 + b"b" * 20_000 + b"n4"
    client.check()


STEPS = st.one_of(
    st.tuples(
        st.just("send"), st.sampled_from(["reply", "close", "newest", "oldest"]), st.integers(1, 30_000)
    ),
    st.tuples(st.just("room"), st.integers(0, 60_000)),
    st.just(("tick",)),
    st.just(("writable",)),
)


@given(st.lists(STEPS, max_size=60), st.sampled_from([Socket, TLS]), st.sampled_from(["", CLIENT_GONE]))
def test_frames_arrive_whole_and_everything_is_counted(steps, kind, end):
    _whole(steps, kind, end)


@story
def _whole(loop, steps, kind, end):
    client = Client(kind)
    sent = []
    for number, (verb, *values) in enumerate(steps):
        if verb == "send":
            topic, length = values
            text = f"<{number}:{topic}:{'x' * length}>"
            sent.append(text)
            if topic == "reply":
                client.outbox.send(text.encode())
            else:
                client.broadcast(topic, text)
        elif verb == "room":
            client.sock.room = values[0]
        elif verb == "tick":
            client.flusher.flush()
        elif client.outbox.blocked:
            client.outbox.flush()
        client.check()
    if end:
        client.outbox.discard(end)
    client.sock.room = 10**9
    client.flusher.flush()
    while client.outbox.blocked:
        client.outbox.flush()
    client.check()
    assert client.route.unsent == 0
    got = [each + ">" for each in client.sock.taken.decode().split(">")]
    whole = got[:-1]
    assert set(whole) <= set(sent)
    if not end:
        assert got[-1] == ">"
        kept = [each for each in sent if ":newest:" not in each and ":oldest:" not in each]
        assert [each for each in whole if ":newest:" not in each and ":oldest:" not in each] == kept
        broadcasts = [each for each in whole if ":reply:" not in each]
        assert client.route.delivered == len(broadcasts)
