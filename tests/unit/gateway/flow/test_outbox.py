"""gateway/flow/outbox.py, over a real pair of sockets."""

import asyncio
import socket

import pytest

from mesh.gateway.flow.outbox import FLUSHES_PER_CLOCK_CHECK, Flusher, Outbox
from mesh.gateway.flow.watermark import HighWatermark
from tests.support.until import until


class Pair:
    """An outbox, and the other end."""

    def __init__(self, max_unsent_bytes=1_000_000, flusher=None):
        ours, self.theirs = socket.socketpair()
        ours.setblocking(False)
        self.theirs.setblocking(False)
        for end in (ours, self.theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
        self.ours = ours
        self.overflows, self.errors = [], []
        self.outbox = Outbox(
            flusher or Flusher(),
            ours,
            max_unsent_bytes,
            self.overflows.append,
            lambda: self.errors.append(1),
        )

    def received(self):
        data = b""
        while True:
            try:
                data += self.theirs.recv(1_000_000)
            except BlockingIOError:
                return data

    def close(self):
        self.outbox.discard()
        self.ours.close()
        self.theirs.close()


def scenario(test):
    def run():
        async def main():
            pairs = []

            def make(*args):
                pairs.append(Pair(*args))
                return pairs[-1]

            try:
                await test(make)
            finally:
                for pair in pairs:
                    pair.close()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
async def test_what_is_queued_in_one_tick_leaves_at_its_end_in_order(make):
    pair = make()
    for n in range(5):
        pair.outbox.send(b"%d" % n)
    with pytest.raises(BlockingIOError):
        pair.theirs.recv(1)
    await asyncio.sleep(0)
    assert pair.received() == b"01234"
    assert pair.outbox.empty


@scenario
async def test_many_outboxes_leave_others_their_turn(make):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesh.gateway.flow.outbox.TICK_BUDGET_SECONDS", 0.0)
        flusher = Flusher()
        pairs = [make(1_000_000, flusher) for _ in range(2 * FLUSHES_PER_CLOCK_CHECK + 1)]
        for pair in pairs:
            pair.outbox.send(b"1")
        await asyncio.sleep(0)
        assert [pair.outbox.empty for pair in pairs].count(True) == FLUSHES_PER_CLOCK_CHECK
        for pair in pairs:
            pair.outbox.send(b"2")
        for _ in range(5):
            await asyncio.sleep(0)
    assert [pair.received() for pair in pairs] == [b"12"] * len(pairs)
    assert all(pair.outbox.empty for pair in pairs)
    pairs[0].outbox.send(b"3")
    pairs[1].outbox.send(b"3")
    flusher.flush()
    assert pairs[1].received() == b"3"
    pairs[1].outbox.send(b"4")
    await asyncio.sleep(0)
    assert pairs[1].received() == b"4"


@scenario
async def test_what_the_kernel_does_not_take_follows_when_it_does(make):
    pair = make()
    sent = b"".join(bytes([n % 251]) * 1000 for n in range(500))
    pair.outbox.send(sent)
    await asyncio.sleep(0)
    assert pair.outbox.blocked
    pair.outbox.send(b"the end")
    got = []
    await until(lambda: got.append(pair.received()) or b"".join(got).endswith(b"the end"))
    assert b"".join(got) == sent + b"the end"
    assert pair.outbox.empty
    assert not pair.outbox.blocked


@scenario
async def test_a_client_that_does_not_read_overflows_once_and_is_sent_nothing_more(make):
    pair = make(50_000)
    for _ in range(300):
        pair.outbox.send(b"x" * 1000)
        await asyncio.sleep(0)
    assert len(pair.overflows) == 1
    assert pair.overflows[0] > 50_000
    assert pair.outbox.closed


@scenario
async def test_a_broken_connection_is_told_once(make):
    pair = make()
    pair.theirs.close()
    for _ in range(3):
        pair.outbox.send(b"x")
        await asyncio.sleep(0)
    assert pair.errors == [1]


@scenario
async def test_the_mark_tells_when_much_waits_and_when_little_is_left(make):
    pair, told = make(10_000_000), []
    pair.outbox.watermark = HighWatermark(1_000_000, told.append)
    pair.outbox.send(b"x" * 100)
    await until(lambda: pair.outbox.empty)
    assert told == []
    for _ in range(30):
        pair.outbox.send(b"x" * 100_000)
        await asyncio.sleep(0)
    assert told == [True]
    received = []
    while not pair.outbox.empty:
        received.append(len(pair.received()))
        if pair.outbox.unsent_bytes > 500_000:
            assert told == [True]
        await asyncio.sleep(0)
    assert told == [True, False]
    assert pair.overflows == []
