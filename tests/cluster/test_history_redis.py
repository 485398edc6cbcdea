"""Histories in Redis: what survives the death of every process of the mesh, and of Redis."""

import os
import signal

import pytest

from tests.support.http import request
from tests.support.processes import Cluster
from tests.support.redis import redis_server
from tests.support.until import until, until_sync
from tests.support.websocket import PhoenixClient, run

APP = "tests.support.history_app:endpoint"
TOPIC = "room:1"


def started(directory, url):
    directory.mkdir()
    env = {"MESH_ADMIN__PORT": "0", "MESH_HISTORY__STORE": "redis", "MESH_HISTORY__REDIS_URL": url}
    running = Cluster(directory, APP, env=env)
    running.wait_started()
    return running


def kill_everything(running):
    """kill -9, the supervisor first, so that it restarts nothing."""
    running.process.kill()
    for pid in running.pids():
        os.kill(pid, signal.SIGKILL)
    until_sync(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in running.pids()))


@pytest.fixture
def redis(tmp_path):
    with redis_server(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


async def say(client, *numbers):
    for number in numbers:
        assert (await client.push(TOPIC, "say", {"n": number}))[0] == "ok"


async def following(url, asked):
    """A client that asked for the history, and the state that it was told."""
    client = await PhoenixClient.connect(url)
    assert (await client.join(TOPIC, {"history": asked}))[0] == "ok"
    state = await client.event("history_state")
    return client, state[4]


async def numbers(client, count):
    found = []
    while len(found) < count:
        _, ref, _, _, payload = await client.event("msg")
        found.append((ref, payload["n"]))
    return found


def test_clients_recover_in_the_same_epoch_after_kill_9_of_every_process(tmp_path, redis):
    async def before(url):
        client, state = await following(url, {})
        await say(client, 1, 2, 3)
        found = await numbers(client, 3)
        assert found == [(f"{state['epoch']}:{each}", each) for each in (1, 2, 3)]
        return state["epoch"]

    async def after(url, epoch):
        client, state = await following(url, {"epoch": epoch, "offset": 1})
        assert state == {"epoch": epoch, "offset": 3, "recovered": True, "count": 2}
        await say(client, 4)
        assert await numbers(client, 3) == [(f"{epoch}:{each}", each) for each in (2, 3, 4)]

    running = started(tmp_path / "before", redis.url)
    epoch = run(before(running.urls[0]))
    kill_everything(running)
    running = started(tmp_path / "after", redis.url)
    try:
        run(after(running.urls[1], epoch))
    finally:
        assert running.process.stop() == 0, running.log()


def test_while_redis_is_away_broadcasts_go_on_and_recovery_answers_false(tmp_path, redis):
    def unready():
        status, body = request(f"{running.admin('worker.1')}/readyz")
        return status == 503 and "history" in body

    async def scenario():
        client, state = await following(running.urls[0], {})
        position = {"epoch": state["epoch"], "offset": 1}
        await say(client, 1)
        assert await numbers(client, 1) == [(f"{state['epoch']}:1", 1)]
        redis.kill()
        await say(client, 2)
        ((ref, number),) = await numbers(client, 1)
        assert number == 2
        assert not ref.startswith(state["epoch"])
        _, away = await following(running.urls[1], position)
        assert away == {"epoch": "", "offset": 0, "recovered": False, "count": 0}
        await until(unready)
        redis.start()
        await until(lambda: not unready())
        epoch = ""
        while not epoch:
            late, again = await following(running.urls[1], position)
            epoch = again["epoch"]
        assert not again["recovered"]
        await say(client, 3)
        assert [number for _, number in await numbers(late, 1)] == [3]
        assert [number for _, number in await numbers(client, 1)] == [3]

    running = started(tmp_path / "nodes", redis.url)
    try:
        run(scenario())
    finally:
        assert running.process.stop() == 0, running.log()
