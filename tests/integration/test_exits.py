"""sys.exit in a callback ends what the callback was called for, and not the process of everybody else."""

import asyncio

import pytest

from tests.support.http import request
from tests.support.processes import OUR_FAULT
from tests.support.until import until
from tests.support.websocket import PhoenixClient, Refused, run

KINDS = ("exit", "interrupt", "base")
CRASHED = ("error", {"reason": "join crashed"})


@pytest.fixture
def running(servers):
    return servers("tests.support.exits_app:endpoint")


@pytest.fixture
def bystander(running):
    """A test of a coroutine, called with the URL, during which another client's channel lives on."""
    process, url = running

    def live(scenario):
        async def main():
            client = await PhoenixClient.connect(url)
            assert (await client.join("room:by"))[0] == "ok"
            await scenario(url)
            assert await client.push("room:by", "echo", {"n": 1}) == ("ok", {"n": 1})
            assert process.popen.poll() is None
            assert OUR_FAULT not in process.log()

        run(main())

    return live


@pytest.mark.parametrize("kind", KINDS)
def test_a_join_that_raises_it_is_refused(bystander, kind):
    async def scenario(url):
        client = await PhoenixClient.connect(url)
        assert await client.join(f"room:join-{kind}") == CRASHED

    bystander(scenario)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("callback", ["after_join", "handle_info", "event"])
def test_a_channel_that_raises_it_crashes(bystander, callback, kind):
    async def scenario(url):
        client, topic = await PhoenixClient.connect(url), f"room:{callback}-{kind}"
        assert (await client.join(topic))[0] == "ok"
        if callback == "event":
            client.cast(topic, "echo", {})
        await client.event("phx_error")

    bystander(scenario)


@pytest.mark.parametrize("kind", KINDS)
def test_a_channel_that_raises_it_in_terminate_has_ended(bystander, kind):
    async def scenario(url):
        client, topic = await PhoenixClient.connect(url), f"room:terminate-{kind}"
        assert (await client.join(topic))[0] == "ok"
        assert (await client.push(topic, "phx_leave"))[0] == "ok"

    bystander(scenario)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("moment", ["early", "late"])
def test_a_connect_that_raises_it_is_answered(bystander, moment, kind):
    async def scenario(url):
        with pytest.raises(Refused) as refused:
            await PhoenixClient.connect(url, f"&{moment}={kind}")
        assert refused.value.status == 500

    bystander(scenario)


def test_a_fetch_that_raises_it_is_like_one_that_fails(bystander, running):
    async def scenario(url):
        client = await PhoenixClient.connect(url)
        assert (await client.join("room:fetch"))[0] == "ok"
        await client.event("presence_diff")
        assert "presence callback failed" in running[0].log()

    bystander(scenario)


def test_a_handler_that_raises_it_is_answered(bystander, running):
    async def scenario(url):
        assert (await asyncio.to_thread(request, f"{url}/exit"))[0] == 500

    bystander(scenario)


def test_a_background_task_that_raises_it_starts_again(bystander, running):
    async def scenario(_):
        await until(lambda: running[0].log().count("background task failed") > 1)

    bystander(scenario)
