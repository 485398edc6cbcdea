"""mesh trace, against a real cluster."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys

import pytest
import zmq

from mesh.bus.discovery.announcements import Announcer
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import ANNOUNCEMENT
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.settings import load
from tests.support.processes import ROOT
from tests.support.proxy import handlers, node_handlers
from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient, run


@pytest.fixture
def running(clusters):
    env = {"MESH_GATEWAY__MAX_UNSENT_BYTES": "1000000", "MESH_BUS__ANNOUNCE_SECONDS": "0.2"}
    return clusters("tests.support.slow_app:endpoint", **env)


async def trace(running, *arguments, code=0):
    """(standard output, standard error)."""
    proxy = running.status["proxy"]["address"]
    command = [sys.executable, "-m", "mesh", "trace", *arguments, "--proxy", proxy]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_one_message_is_followed_to_the_members_at_each_gateway(running):
    async def scenario():
        clients = [await PhoenixClient.connect(running.urls[0]) for _ in range(3)]
        for client in clients:
            await client.join("chat:1")
        out, _ = await trace(running, "chat:1", "--publish", "ping", '{"a": 1}', "--json")
        row = json.loads(out)
        for client in clients:
            assert (await client.event("ping"))[4] == {"a": 1}
        assert (row["topic"], row["event"], row["bytes"]) == ("chat:1", "ping", 7)
        assert row["origin"].startswith("script-")
        assert row["proxy"] == running.status["proxy"]["address"]
        with_members, without = sorted(row["gateways"].values(), key=lambda each: "problem" in each)
        assert without == {"problem": "no members here"}
        assert (with_members["members"], with_members["delivered"]) == (3, 3)
        assert with_members["filtered"] == with_members["dropped"] == {}
        assert with_members["held"] == with_members["unsent"] == 0
        assert 0 <= with_members["after_ms"] < 10_000

    run(scenario())


def test_it_waits_for_others_messages_and_says_what_a_slow_client_misses(running):
    async def scenario():
        bystander = await PhoenixClient.connect(running.urls[0])
        slow = await PhoenixClient.connect(running.urls[1])
        for client in (bystander, slow):
            await client.join("dashboard:1")
        slow.socket.writer.transport.pause_reading()

        async def publish(first, count):
            bystander.cast("dashboard:1", "publish", {"first": first, "count": count, "pad": 50_000})
            for number in range(first, first + count):
                assert (await bystander.event("even" if number % 2 == 0 else "odd"))[4]["n"] == number

        for first in range(0, 400, 10):
            await publish(first, 10)
        tracing = asyncio.create_task(
            trace(running, "dashboard:1", "--count", "4", "--seconds", "30", "--json")
        )
        number = 400
        while not tracing.done():
            await publish(number, 2)
            number += 2
        rows = [json.loads(line) for line in (await tracing)[0].splitlines()]
        first, *_ = events = [row["event"] for row in rows]
        assert events == 2 * (["even", "odd"] if first == "even" else ["odd", "even"])
        assert [row["sequence"] for row in rows] == sorted(row["sequence"] for row in rows)
        for row in rows:
            outcomes = sorted(row["gateways"].values(), key=lambda each: each["delivered"], reverse=True)
            assert (outcomes[0]["members"], outcomes[0]["delivered"]) == (1, 1)
            assert (outcomes[1]["members"], outcomes[1]["delivered"]) == (1, 0)
            assert outcomes[1]["dropped"] == {"conflated": 1}

    run(scenario())


def test_gateways_that_do_not_answer_are_named_and_the_others_tell(running):
    async def scenario():
        client = await PhoenixClient.connect(running.urls[0])
        await client.join("chat:2")
        with deaf_gateway(running.status["proxy"]["address"], "gateway-deaf"):
            out, problems = await trace(running, "chat:2", "--publish", "ping", "{}", "--json", code=1)
        assert "gateway-deaf did not answer within 1.5 seconds" in problems
        gateways = json.loads(out)["gateways"]
        assert gateways.pop("gateway-deaf") == {"problem": "no answer"}
        assert sum(each.get("delivered", 0) for each in gateways.values()) == 1

    run(scenario())


@contextlib.contextmanager
def deaf_gateway(proxy, name):
    """Announces itself, and answers nothing."""
    context = zmq.Context()
    settings = load(flags={"bus": {"proxies": [proxy], "announce_seconds": 0.2}}).bus
    bus = ZeroMQBus(context, name, settings)
    announcement = Announcement(node=name, kind="gateway")
    announcer = Announcer(bus, announcement, settings.announce_seconds, settings.node_down_seconds)
    announcer.start(node_handlers())
    bus.start(
        handlers(messages={ANNOUNCEMENT: announcer.on_announcement}, paths_changed=announcer.paths_changed)
    )
    try:
        yield
    finally:
        announcer.close()
        bus.close()
        context.term()


def test_what_cannot_be_traced_is_one_line(running):
    async def scenario():
        assert "starts with '$'" in (await trace(running, "$nodes", code=2))[1]
        _, problem = await trace(running, "chat:nobody", "--seconds", "0.1", code=1)
        assert "no message on chat:nobody within 0.1 seconds" in problem
        out, _ = await trace(running, "chat:nobody", "--publish", "ping", "{}", "--seconds", "1")
        assert out.count("no members here") == 2
        assert "through ipc://" in out

    run(scenario())
