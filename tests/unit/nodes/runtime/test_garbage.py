"""nodes/runtime/garbage.py: young objects are collected, old ones set aside, all are looked at now and then."""

import asyncio
import gc
import weakref

import pytest

from mesh.nodes.runtime.garbage import YOUNG_OBJECTS, GarbageCollection
from mesh.settings import GarbageSettings


class Circle:
    def __init__(self):
        self.me = self


@pytest.fixture
def collection():
    made = []

    def make(seconds):
        made.append(GarbageCollection(GarbageSettings(full_seconds=seconds)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_old_objects_are_set_aside_and_young_circles_found(collection):
    before = gc.get_threshold()

    async def scenario():
        garbage = collection(600)
        garbage.start()
        try:
            assert gc.get_freeze_count() > 1_000
            young = weakref.ref(Circle())
            kept = [[] for _ in range(2 * YOUNG_OBJECTS)]
            assert young() is None, "found by a young collection"
            assert not any(each is kept for each in gc.get_objects(generation=1)), (
                "what survived is set aside"
            )
            old = gc.get_stats()[2]["collections"]
            more = [[] for _ in range(20 * YOUNG_OBJECTS)]
            assert gc.get_stats()[2]["collections"] == old
            del more
        finally:
            garbage.close()

    asyncio.run(scenario())
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


def test_circles_that_were_set_aside_are_found_by_the_next_full_collection(collection):
    async def scenario():
        garbage = collection(0.01)
        circle = Circle()
        gone = asyncio.Event()
        weakref.finalize(circle, gone.set)
        garbage.start()
        del circle
        try:
            async with asyncio.timeout(10):
                await gone.wait()
        finally:
            garbage.close()

    asyncio.run(scenario())


def test_without_the_setting_python_collects_as_it_does(collection):
    async def scenario():
        garbage = collection(None)
        before = gc.get_threshold()
        garbage.start()
        assert gc.get_threshold() == before
        assert gc.get_freeze_count() == 0

    asyncio.run(scenario())
