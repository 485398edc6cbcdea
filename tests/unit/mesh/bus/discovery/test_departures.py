"""Who is known to be gone, and who is only silent for this node, in virtual time."""

import asyncio

import pytest

from mesh.bus.discovery.departures import Departures
from mesh.bus.discovery.placement import Announcement, Placement
from tests.support.virtual_time import run_virtually


def world(scenario, hears=True):
    async def made():
        placement = Placement()
        gone = Departures(placement, 1.0)
        told = []
        gone.start(None, told.append)
        placement.record(Announcement(node="b", kind="gateway"), 0.0)
        cut_off = asyncio.Event()

        async def announce():
            while not cut_off.is_set():
                gone.own_announcement_received()
                await asyncio.sleep(1)

        task = asyncio.ensure_future(announce()) if hears else None
        await scenario(gone, placement, told, cut_off)
        gone.close()
        if task is not None:
            task.cancel()

    run_virtually(made())


def test_who_is_placed_is_there_and_who_is_not_is_gone():
    async def scenario(gone, placement, told, cut_off):
        assert not gone.is_gone("c"), "we have just come, and may not have heard of it yet"
        await asyncio.sleep(3)
        assert not gone.is_gone("b")
        assert gone.is_gone("c")

    world(scenario)


def test_who_says_goodbye_is_gone_at_once():
    async def scenario(gone, placement, told, cut_off):
        placement.forget("b")
        gone.stopped("b")
        assert told == ["b"]

    world(scenario)


@pytest.mark.parametrize("speaks", [True, False])
def test_who_is_accused_is_gone_unless_it_speaks(speaks):
    async def scenario(gone, placement, told, cut_off):
        await asyncio.sleep(3)
        gone.suspect("b")
        gone.suspect("b")
        gone.suspect("stranger")
        await asyncio.sleep(0.5)
        if speaks:
            gone.announced("b")
        await asyncio.sleep(2)
        assert told == ([] if speaks else ["b"])
        assert gone.is_gone("b") is not speaks

    world(scenario)


def test_who_hears_nothing_blames_nobody():
    async def scenario(gone, placement, told, cut_off):
        await asyncio.sleep(3)
        cut_off.set()
        await asyncio.sleep(4)
        gone.suspect("b")
        await asyncio.sleep(2)
        placement.forget("b")
        gone.fell_silent("b")
        assert told == []
        assert not gone.is_gone("b")
        gone.own_announcement_received()  # the proxy is back
        assert not gone.is_gone("b"), "it will announce itself"

    world(scenario)


def test_who_falls_silent_alone_is_gone():
    async def scenario(gone, placement, told, cut_off):
        await asyncio.sleep(6)
        placement.forget("b")
        gone.fell_silent("b")
        assert told == ["b"]
        assert gone.is_gone("b")

    world(scenario)
