"""gateway/joins/pending.py: who waits is late in its time, in virtual time."""

import asyncio

from mesh.gateway.joins.pending import CHECK_SECONDS, PendingJoins
from tests.support.virtual_time import run_virtually


def test_each_is_late_in_its_time_and_who_is_taken_out_never():
    async def scenario():
        late = []
        waiting = PendingJoins(5.0, late.append)
        waiting.add("one")
        waiting.add("taken out")
        await asyncio.sleep(4.0)
        waiting.add("two")
        del waiting.deadlines["taken out"]
        await asyncio.sleep(1.0 + CHECK_SECONDS)
        assert (late, list(waiting.deadlines)) == ([["one"]], ["two"])
        await asyncio.sleep(4.0)
        assert late == [["one"], ["two"]]

    run_virtually(scenario())


def test_who_is_late_may_wait_again_and_has_its_whole_time():
    async def scenario():
        loop, times = asyncio.get_running_loop(), []

        def again(late):
            times.append(loop.time())
            for each in late:
                waiting.add(each)

        waiting = PendingJoins(5.0, again)
        waiting.add("one")
        await asyncio.sleep(15.5)
        assert times == [5.0, 10.0, 15.0]

    run_virtually(scenario())


def test_who_waits_on_has_the_rest_of_its_time():
    async def scenario():
        late = []
        waiting = PendingJoins(5.0, late.append)
        waiting.add("one")
        await asyncio.sleep(4.0)
        waiting.add("one", waiting.deadlines.pop("one"))
        await asyncio.sleep(1.0 + CHECK_SECONDS)
        assert late == [["one"]]

    run_virtually(scenario())
