"""A join that ends its process: it costs two workers, whatever the number of gateways, and is refused."""

import asyncio
import re

import pytest

from tests.support.processes import cluster
from tests.support.until import PATIENCE, until, until_sync
from tests.support.websocket import PhoenixClient, run

CRASHED = ("error", {"reason": "join crashed"})


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    app = "tests.support.abort_app:endpoint"
    env = {"MESH_GATEWAY__WORKER_WAIT_SECONDS": "240"}
    with cluster(tmp_path_factory.mktemp("crashing"), app, gateways=2, workers=3, env=env) as found:
        yield found


def deaths(running):
    return len(re.findall(r"was killed by SIGABRT", running.log()))


def test_a_join_that_aborts_costs_two_workers_and_others_go_on(running):
    async def scenario():
        one, two = [await PhoenixClient.connect(url) for url in running.urls]
        slow = [f"slow:{number}" for number in range(6)]
        innocent = []
        for topic in slow:  # under way on the workers that die
            ref = one.ref()
            one.join_refs[topic] = ref
            one.say(ref, ref, topic, "phx_join", {"seconds": 2})
            innocent.append(ref)
        poison = [one.join("abort:1"), one.join("abort:1", {"other": True})]
        assert await poison[0] == CRASHED
        assert await poison[1] == CRASHED, "at once, without a worker"
        answers = [await one.answer(ref) for ref in innocent]
        assert answers == [("ok", {})] * len(slow)
        await until(lambda: running.log().count("another gateway reports") >= 1)
        await asyncio.to_thread(until_linked, running)
        assert deaths(running) == 2
        # The other gateway offers it to nobody at first, then to a single worker.
        died = deaths(running)
        async with asyncio.timeout(PATIENCE):
            while deaths(running) == died:
                assert await two.join("abort:1") == CRASHED
                await asyncio.sleep(0.2)
        assert deaths(running) == died + 1
        assert (await one.join("slow:fresh"))[0] == "ok"
        assert running.log().count("further joins are refused for a time") <= 4, (
            "once for each change, at each gateway"
        )

    run(scenario())


def test_members_of_a_topic_that_is_spread_are_refused_as_well(running):
    async def scenario():
        died = deaths(running)
        clients = [await PhoenixClient.connect(url) for url in running.urls]
        await asyncio.to_thread(until_linked, running)
        assert await clients[0].join("spread:1") == CRASHED
        for client in clients:
            await until(lambda: running.log().count("topic=spread:1") >= 2)
            assert await client.join("spread:1", {"spare": True}) in (CRASHED, ("ok", {}))
        assert deaths(running) <= died + 2
        assert (await clients[1].join("slow:more"))[0] == "ok"

    run(scenario())


def until_linked(running):
    """Until each gateway is linked to a worker for each that was ever started."""
    until_sync(
        lambda: running.links() >= 2 * len(re.findall(r"worker\.\d+ +│ started, pid", running.log()))
    )
