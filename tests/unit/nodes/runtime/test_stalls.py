"""nodes/runtime/stalls.py: a callback that blocks the event loop is seen."""

import asyncio
import time

from structlog.testing import capture_logs

from mesh.nodes.runtime.event_loop import EventLoop
from mesh.nodes.runtime.stalls import StallMonitor
from mesh.telemetry import stats
from tests.support.until import until


def block(seconds):
    time.sleep(seconds)


def watched(scenario, warning_seconds=60.0, loop_factory=EventLoop):
    async def main():
        monitor = StallMonitor(warning_seconds)
        monitor.start()
        try:
            await scenario(monitor)
        finally:
            monitor.close()

    with capture_logs() as logs, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    return [each for each in logs if each["event"] == "the event loop was held up"]


def turns():
    return sum(stats.loop_turn_seconds.buckets)


def test_a_blocking_callback_is_the_worst_stall_until_it_is_asked_for():
    async def scenario(monitor):
        before = stats.loop_stalls
        asyncio.get_running_loop().call_soon(block, 0.3)
        await until(lambda: stats.loop_stalls > before)
        assert monitor.take_worst() >= 0.3
        assert monitor.take_worst() == 0.0

    assert watched(scenario) == []


def test_what_a_callback_computes_is_told_from_what_it_waits():
    def compute(seconds):
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    async def scenario(monitor):
        for stall, least, most in ((compute, 0.1, 0.3), (block, 0.0, 0.1)):
            await asyncio.sleep(0)
            monitor.take_worst_cpu()
            before = stats.loop_stalls
            asyncio.get_running_loop().call_soon(stall, 0.15)
            await until(lambda before=before: stats.loop_stalls > before)
            assert least <= monitor.take_worst_cpu() < most

    watched(scenario)


def test_each_turn_is_in_the_histogram():
    async def scenario(monitor):
        long = sum(stats.loop_turn_seconds.buckets[8:])
        asyncio.get_running_loop().call_soon(block, 0.2)
        await until(lambda: sum(stats.loop_turn_seconds.buckets[8:]) > long)
        assert stats.loop_turn_seconds.BOUNDS[7] == 0.1, "the eighth bucket begins there"

    watched(scenario)


def test_stalls_over_the_bound_are_logged_once_in_a_while():
    async def scenario(monitor):
        for _ in range(3):
            before = stats.loop_stalls
            asyncio.get_running_loop().call_soon(block, 0.15)
            await until(lambda before=before: stats.loop_stalls > before)

    (line,) = watched(scenario, warning_seconds=0.1)
    assert line["log_level"] == "warning"
    assert line["milliseconds"] >= 100


def test_a_closed_monitor_looks_no_more():
    async def scenario(monitor):
        monitor.close()
        seen = turns()
        for _ in range(5):
            await asyncio.sleep(0)
        assert turns() == seen

    watched(scenario)


def test_an_idle_loop_is_not_woken():
    async def scenario(monitor):
        seen = turns()
        await asyncio.sleep(0.3)
        assert 1 <= turns() - seen <= 3

    watched(scenario)


def test_the_loop_of_somebody_else_is_not_watched():
    async def scenario(monitor):
        seen = turns()
        await asyncio.sleep(0)
        assert (turns(), monitor.take_worst()) == (seen, 0.0)

    watched(scenario, loop_factory=asyncio.new_event_loop)
