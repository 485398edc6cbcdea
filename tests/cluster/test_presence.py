"""Presence over two workers: replicated, and right again after deaths, frosts and cuts."""

import asyncio
import os
import signal
import time

import pytest

from tests.support.presence_scenarios import SCENARIOS, Member, on_both_workers
from tests.support.until import until
from tests.support.websocket import run

APP = "tests.support.presence_app:endpoint"
SILENCE = 4.0
"""Longer than a busy machine holds up a node that is well."""


@pytest.fixture
def running(clusters):
    env = {
        "MESH_LINK__HEARTBEAT_SECONDS": "0.2",
        "MESH_LINK__HEARTBEAT_TIMEOUT_SECONDS": str(SILENCE),
        "MESH_BUS__HEARTBEAT_SECONDS": "0.2",
        "MESH_BUS__HEARTBEAT_TIMEOUT_SECONDS": str(SILENCE),
        "MESH_PRESENCE__HEARTBEAT_SECONDS": "0.3",
        "MESH_PRESENCE__DOWN_SECONDS": str(SILENCE),
    }
    return clusters(APP, **env)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_cluster(running, scenario):
    run(scenario(*running.urls))


async def crowd(running, topic):
    """Ten members, all known to all."""
    members = await on_both_workers(*running.urls, topic)
    while len(members) < 10:
        number = len(members)
        url = running.urls[number % 2]
        members.append(await Member.join(url, topic, **{"as": f"u{number}", "n": number}))
    for member in members:
        await member.knows({f"u{number}": [number] for number in range(len(members))})
    return members


def numbers(members):
    return {f"u{n}": [n] for n in (int(member.key[1:]) for member in members)}


def named(members):
    for number, member in enumerate(members):
        member.key = f"u{number}"
    return members


def test_a_killed_workers_members_leave_at_once_and_are_back_after_their_rejoin(running):
    async def scenario():
        members = named(await crowd(running, "here:killed-worker"))
        pid = running.status["workers"][0]["pid"]
        gone = [member for member in members if member.pid == pid]
        stay = [member for member in members if member.pid != pid]
        assert gone
        links = running.links()
        killed = time.monotonic()
        running.kill("workers", 0)
        for member in stay:
            await member.knows(numbers(stay))
        assert time.monotonic() - killed < SILENCE, "before any heartbeat could be missed"
        for member in gone:
            await member.client.event("phx_error")
            await member.rejoin(**{"as": member.key, "n": int(member.key[1:])})
        for member in members:
            await member.knows(numbers(members))
        running.wait_restarted("workers", 0, pid)
        running.wait_linked(links + 2)
        newcomers = await on_both_workers(*running.urls, "here:killed-worker", **{"as": "new", "n": 99})
        for member in (*members, *newcomers):
            await member.agrees({**numbers(members), "new": [99] * len(newcomers)})

    run(scenario())


def test_a_killed_gateways_members_leave(running):
    async def scenario():
        members = named(await crowd(running, "here:killed-gateway"))
        stay = members[1::2]  # on the other gateway
        running.kill("gateways", 0)
        for member in stay:
            await member.knows(numbers(stay))

    run(scenario())


def test_a_frozen_workers_members_leave_and_it_brings_no_ghosts_on_waking(running):
    async def scenario():
        members = named(await crowd(running, "here:frozen-worker"))
        pid = running.status["workers"][0]["pid"]
        gone = [member for member in members if member.pid == pid]
        stay = [member for member in members if member.pid != pid]
        old = {meta["phx_ref"] for member in gone for meta in member.view.metas[member.key]}
        links, gone_before = running.links(), running.log().count("worker is gone")
        running.kill("workers", 0, signal.SIGSTOP)
        try:
            for member in stay:
                await member.knows(numbers(stay))
                member.view.diffs.clear()
            for member in gone:
                await member.client.event("phx_error")
                await member.rejoin(**{"as": member.key, "n": int(member.key[1:])})
            for member in members:
                await member.knows(numbers(members))
            # Both gateways: one that had no member there is in no hurry to notice.
            await until(lambda: running.log().count("worker is gone") >= gone_before + 2)
        finally:
            os.kill(pid, signal.SIGCONT)
        running.wait_linked(links + 2)
        late = await on_both_workers(*running.urls, "here:frozen-worker", **{"as": "late", "n": 99})
        for member in (*members, *late):
            await member.agrees({**numbers(members), "late": [99] * len(late)})
        joins = [each for member in stay for diff in member.view.diffs for each in diff["joins"].values()]
        new = {meta["phx_ref"] for each in joins for meta in each["metas"]}
        assert new, "the rejoins"
        assert not new & old, "who was frozen brought nobody back"

    run(scenario())


@pytest.mark.parametrize("seconds", [0.5, 4.0], ids=["short", "long enough to be down"])
def test_after_a_cut_of_the_bus_everybody_knows_the_truth(running, seconds):
    async def scenario():
        members = named(await crowd(running, f"here:cut-{seconds}"))
        pid = running.kill("proxy", 0, signal.SIGSTOP)
        try:
            leaver, stay = members[0], members[1:]
            await leaver.push("untrack")
            await leaver.push("track", key="meanwhile", meta={"n": 7})
            await asyncio.sleep(seconds)  # the cut itself: nothing to wait for
        finally:
            os.kill(pid, signal.SIGCONT)
        for member in members:
            await member.agrees({**numbers(stay), "meanwhile": [7]})

    run(scenario())


def test_presence_is_right_again_after_a_proxy_was_killed(running):
    async def scenario():
        members = named(await crowd(running, "here:killed-proxy"))
        old = running.kill("proxy")
        await members[0].push("untrack")
        running.wait_restarted("proxy", 0, old)
        for member in members:
            await member.agrees(numbers(members[1:]))

    run(scenario())
