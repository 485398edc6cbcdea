"""mesh/bus/moves.py: messages that came another way wait for those that were sent before them."""

import asyncio

import msgspec
import pytest

from mesh.bus.frames import BROADCAST, MOVE, VERSION, Header
from mesh.bus.moves import Moves
from mesh.errors import WireError


class Receiver:
    def __init__(self):
        self.got = []
        self.moves = Moves(lambda topic, header, data: self.got.append(header.sequence))

    def marker(self, boundary, ways, old, origin="a"):
        header = Header(VERSION, MOVE, origin, boundary, "", 0)
        self.moves.marker(header, msgspec.msgpack.encode((ways, old)))

    def message(self, sequence, origin="a"):
        header = Header(VERSION, BROADCAST, origin, sequence, "e", 0)
        if not self.moves.hold("room:1", header, b""):
            self.got.append(sequence)


def scenario(test):
    def run():
        async def main():
            await test(Receiver())

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
async def test_what_comes_the_new_way_waits_for_what_was_sent_the_old_way(receiver):
    receiver.marker(10, 1, old=False)
    receiver.message(11)
    receiver.message(12)
    receiver.message(9)
    receiver.message(5, origin="b")
    assert receiver.got == [9, 5]
    receiver.marker(10, 1, old=True)
    assert receiver.got == [9, 5, 11, 12]
    receiver.message(13)
    assert receiver.got[-1] == 13
    assert not receiver.moves.under_way


@scenario
async def test_all_old_ways_count(receiver):
    receiver.marker(10, 2, old=True)
    receiver.marker(10, 2, old=False)
    receiver.message(11)
    assert receiver.got == []
    receiver.marker(10, 2, old=True)
    assert receiver.got == [11]


@scenario
async def test_a_marker_that_comes_last_by_the_new_way_holds_nothing(receiver):
    receiver.marker(10, 1, old=True)
    receiver.marker(10, 1, old=False)
    receiver.message(11)
    assert receiver.got == [11]


@scenario
async def test_a_marker_that_is_lost_delays_by_a_bounded_time(receiver):
    receiver.marker(10, 1, old=False)
    receiver.message(11)
    async with asyncio.timeout(5):
        while not receiver.got:
            await asyncio.sleep(0.005)
    assert receiver.got == [11]


@scenario
async def test_a_second_move_ends_the_first(receiver):
    receiver.marker(10, 1, old=False)
    receiver.message(11)
    receiver.marker(20, 1, old=False)
    assert receiver.got == [11]
    receiver.message(21)
    receiver.marker(20, 1, old=True)
    assert receiver.got == [11, 21]
    receiver.moves.close()


@scenario
async def test_what_is_no_marker_is_refused(receiver):
    for data in (b"", b"\xc1", msgspec.msgpack.encode(("x", True)), msgspec.msgpack.encode((1,))):
        with pytest.raises(WireError, match="not a marker"):
            receiver.moves.marker(Header(VERSION, MOVE, "a", 1, "", 0), data)
