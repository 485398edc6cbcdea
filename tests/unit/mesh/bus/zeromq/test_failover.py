"""mesh/bus/zeromq/failover.py: messages that came another way wait for those that were sent before them."""

import asyncio

import msgspec
import pytest

from mesh.bus.frames import BROADCAST, MOVE, VERSION, Header
from mesh.bus.zeromq import failover as module
from mesh.bus.zeromq.failover import MAX_PROXIES, MAX_WAITS, Reroutes
from mesh.errors import WireError
from mesh.telemetry import counters
from tests.support.until import until


class Receiver:
    def __init__(self):
        self.got = []
        self.reroutes = Reroutes(lambda topic, header, data: self.got.append(header.sequence), 0.1)

    def marker(self, boundary, kept_proxies, proxy, *, kept=True, origin="a"):
        header = Header(VERSION, MOVE, origin, boundary, "", 0)
        self.reroutes.handle_marker(header, msgspec.msgpack.encode((kept_proxies, kept, proxy)))

    def message(self, sequence, origin="a", data=b""):
        header = Header(VERSION, BROADCAST, origin, sequence, "e", 0)
        if not self.reroutes.hold("room:1", header, data):
            self.got.append(sequence)


def scenario(test):
    def run():
        async def main():
            receiver = Receiver()
            await test(receiver)
            receiver.reroutes.close()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
async def test_what_comes_the_new_way_waits_for_what_was_sent_the_old_way(receiver):
    receiver.marker(10, 1, 1, kept=False)
    receiver.message(11)
    receiver.message(12)
    receiver.message(9)
    receiver.message(5, origin="b")
    assert receiver.got == [9, 5]
    receiver.marker(10, 1, 0)
    assert receiver.got == [9, 5, 11, 12]
    receiver.message(13)
    assert receiver.got[-1] == 13
    assert not receiver.reroutes.in_progress


@scenario
async def test_all_old_ways_count_each_once(receiver):
    receiver.marker(10, 2, 0)
    receiver.marker(10, 2, 2, kept=False)
    receiver.message(11)
    receiver.marker(10, 2, 0)
    receiver.marker(10, 2, 2, kept=False)
    assert receiver.got == []
    receiver.marker(10, 2, 1)
    assert receiver.got == [11]


@scenario
async def test_markers_that_are_repeated_afterwards_hold_nothing(receiver):
    receiver.marker(10, 1, 0)
    receiver.marker(10, 1, 1, kept=False)
    receiver.message(11)
    receiver.marker(10, 1, 0)
    receiver.message(12)
    assert receiver.got == [11, 12]
    assert not receiver.reroutes.in_progress


@scenario
async def test_markers_that_are_lost_delay_by_a_bounded_time(receiver):
    receiver.marker(10, 1, 1, kept=False)
    receiver.message(11)
    await until(lambda: receiver.got == [11])


@scenario
async def test_the_messages_of_an_old_way_that_is_lost_come_again_before_the_next_marker(receiver):
    receiver.marker(10, 1, 1, kept=False)
    receiver.message(11)  # the old way freezes with 8 and 9
    receiver.message(12)
    receiver.message(8)
    receiver.message(9)
    receiver.message(13)
    receiver.marker(14, 1, 1)
    assert receiver.got == [8, 9, 11, 12, 13]
    receiver.message(15)
    assert receiver.got[-1] == 15


@scenario
async def test_a_second_move_goes_on_with_what_waits_for_the_first(receiver):
    receiver.marker(10, 2, 2, kept=False)
    receiver.message(11)
    receiver.marker(10, 2, 1)
    receiver.marker(20, 2, 2)  # proxy 0 is lost; what went through it comes through the others
    receiver.message(21)
    receiver.message(12)
    receiver.message(9)
    receiver.marker(10, 2, 0)  # late, by the lost proxy: the next marker is waited for
    assert receiver.got == [9]
    receiver.marker(20, 2, 1)
    assert receiver.got == [9, 11, 12, 21]


@scenario
async def test_an_older_marker_that_comes_after_a_newer_one_counts_from_its_own_number(receiver):
    receiver.marker(20, 2, 0)
    receiver.marker(10, 1, 1, kept=False)
    receiver.message(11)
    assert receiver.got == []
    receiver.marker(20, 2, 1)
    assert receiver.got == [11]


@scenario
async def test_what_is_no_marker_is_refused(receiver):
    for data in (b"", b"\xc1", msgspec.msgpack.encode(("x", True, 0)), msgspec.msgpack.encode((1, True))):
        with pytest.raises(WireError, match="not a marker"):
            receiver.reroutes.handle_marker(Header(VERSION, MOVE, "a", 1, "", 0), data)


@scenario
async def test_ever_higher_boundaries_prolong_a_wait_by_a_bounded_time(receiver):
    loop = asyncio.get_running_loop()
    began, boundary = loop.time(), 10
    receiver.marker(boundary, 2, 0)
    receiver.message(11)
    while not receiver.got:
        boundary += 1
        receiver.marker(boundary, 2, 0)
        assert loop.time() - began < 3 * MAX_WAITS * 0.1
        await asyncio.sleep(0.02)
    assert loop.time() - began > (MAX_WAITS - 1) * 0.1


@pytest.mark.parametrize(("limit", "value"), [("MAX_HELD", 10), ("MAX_HELD_BYTES", 100)])
def test_what_is_held_of_all_origins_is_bounded(monkeypatch, limit, value):
    monkeypatch.setattr(module, limit, value)

    @scenario
    async def flood(receiver):
        before = counters.value("bus_moves_expired")
        receiver.marker(1, 1, 1, kept=False)
        receiver.marker(1, 1, 1, kept=False, origin="b")
        receiver.message(100, origin="b", data=bytes(10))
        for number in range(11, 1, -1):
            receiver.message(number, data=bytes(10))
        assert receiver.got == list(range(2, 12)), "in order, and only those of the origin with the most"
        assert list(receiver.reroutes.in_progress) == ["b"]
        assert counters.value("bus_moves_expired") == before + 1
        receiver.marker(1, 1, 0, origin="b")
        assert receiver.got[-1] == 100
        assert (receiver.reroutes._held, receiver.reroutes._held_bytes) == (0, 0)

    flood()


def test_the_moves_in_progress_are_bounded(monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED_ORIGINS", 5)

    @scenario
    async def flood(receiver):
        for number in range(100):
            receiver.marker(1, 1, 1, kept=False, origin=str(number))
        assert len(receiver.reroutes.in_progress) == 5
        receiver.message(7, origin="99")
        assert receiver.got == [7]
        with pytest.raises(WireError, match="not a marker"):
            receiver.marker(1, MAX_PROXIES + 1, 1)

    flood()
