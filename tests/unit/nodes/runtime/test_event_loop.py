"""nodes/runtime/event_loop.py: a few ready sockets at a time, and all of them in the end."""

import asyncio
import selectors
import socket
import time

import pytest

from mesh.nodes.runtime.event_loop import EVENTS_PER_SELECT, EventLoop, Selector


@pytest.fixture
def pairs():
    """(ours, theirs), many more than fit into one turn."""
    made = [socket.socketpair() for _ in range(3 * EVENTS_PER_SELECT + 5)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for ours, theirs in made:
        ours.close()
        theirs.close()


@pytest.fixture
def selector():
    with Selector() as each:
        yield each


def test_sockets_that_stay_ready_take_turns(selector, pairs):
    for ours, theirs in pairs:
        selector.register(ours, selectors.EVENT_READ)
        theirs.send(b"x")
    seen = set()
    for _ in range(4):
        found = selector.select(0)
        assert 0 < len(found) <= EVENTS_PER_SELECT
        seen |= {key.fileobj for key, _ in found}
    assert seen == {ours for ours, _ in pairs}


def test_events_are_those_that_were_asked_for(selector, pairs):
    (reading, theirs), (writing, _), (both, gone) = pairs[:3]
    selector.register(reading, selectors.EVENT_READ, "reading")
    assert selector.select(0) == []
    assert selector.select(-1) == []
    theirs.send(b"x")
    selector.register(writing, selectors.EVENT_WRITE, "writing")
    selector.register(both, selectors.EVENT_READ | selectors.EVENT_WRITE, "both")
    gone.close()
    assert {key.data: events for key, events in selector.select(None)} == {
        "reading": selectors.EVENT_READ,
        "writing": selectors.EVENT_WRITE,
        "both": selectors.EVENT_READ | selectors.EVENT_WRITE,
    }


def test_it_never_wakes_before_the_time(selector):
    began = time.monotonic()
    assert selector.select(0.0101) == []
    assert time.monotonic() - began >= 0.0101


def test_others_have_their_turn_while_thousands_are_ready(pairs):
    log = []

    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def readable(ours):
            ours.recv(1)
            log.append("socket")
            if log.count("socket") == len(pairs):
                done.set_result(None)

        def turn():
            log.append("other")
            if not done.done():
                loop.call_soon(turn)

        for ours, theirs in pairs:
            theirs.send(b"x")
            loop.add_reader(ours, readable, ours)
        turn()
        await asyncio.wait_for(done, 10)
        for ours, _ in pairs:
            loop.remove_reader(ours)

    with asyncio.Runner(loop_factory=EventLoop) as runner:
        runner.run(main())
    runs = "".join("s" if each == "socket" else "o" for each in log).split("o")
    assert max(map(len, runs)) == EVENTS_PER_SELECT
