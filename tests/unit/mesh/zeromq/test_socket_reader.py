"""mesh/zeromq/socket_reader.py, over a real pair of sockets."""

import asyncio

import pytest
import zmq

from mesh.zeromq.socket_reader import SocketReader
from tests.support.until import until


@pytest.fixture
def pair():
    with zmq.Context() as context:
        ours, theirs = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
        ours.bind("inproc://reader")
        theirs.connect("inproc://reader")
        yield ours, theirs
        context.destroy(0)


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, 10))


def test_every_message_comes_and_a_failure_costs_one(pair):
    ours, theirs = pair
    got = []

    def handle(frames):
        if frames == [b"2"]:
            raise ValueError("2")
        got.append(frames)

    async def scenario():
        reader = SocketReader(ours, handle)
        for n in range(5):
            theirs.send(b"%d" % n)
        reader.start()
        await until(lambda: len(got) == 4)
        theirs.send_multipart([b"a", b"b"])
        await until(lambda: len(got) == 5)
        reader.close()

    run(scenario())
    assert got == [[b"0"], [b"1"], [b"3"], [b"4"], [b"a", b"b"]]


@pytest.mark.parametrize(("seconds", "per_turn", "expected"), [(0.0, 1024, 1), (60.0, 3, 3)])
def test_a_turn_ends_by_the_clock_or_the_number(pair, seconds, per_turn, expected):
    ours, theirs = pair
    log, behind = [], []

    async def scenario():
        loop = asyncio.get_running_loop()
        reader = SocketReader(
            ours, lambda frames: log.append(frames[0].decode()), per_turn, seconds, behind.append
        )

        def other():
            log.append(" ")
            if "8" not in log:
                loop.call_soon(other)

        for n in range(9):
            theirs.send(b"%d" % n)
        reader.start()
        other()
        await until(lambda: behind[-1:] == [False])
        assert not reader.behind
        reader.close()

    run(scenario())
    turns = "".join(log).split()
    assert "".join(turns) == "012345678"
    assert max(map(len, turns)) == expected
    assert behind == [True, False]


@pytest.mark.parametrize("look", [SocketReader.read_soon, SocketReader.read_soon_if_any])
def test_what_arrives_during_a_send_is_read_although_the_descriptor_shows_nothing(pair, look):
    ours, theirs = pair
    got = []

    async def scenario():
        reader = SocketReader(ours, got.append)
        reader.start()
        await asyncio.sleep(0)  # the turn in which it looks first
        theirs.send(b"1")
        assert ours.getsockopt(zmq.EVENTS) & zmq.POLLIN  # this resets the descriptor, as a send does
        look(reader)
        assert got == [], "not at once: the sender may be a handler"
        await until(lambda: got == [[b"1"]])
        reader.close()

    run(scenario())


def test_before_a_socket_is_closed_all_is_read(pair):
    ours, theirs = pair
    got = []

    async def scenario():
        reader = SocketReader(ours, got.extend, 2)
        for n in range(9):
            theirs.send(b"%d" % n)
        reader.read_now()
        assert b"".join(got) == b"012345678"
        reader.close()

    run(scenario())
