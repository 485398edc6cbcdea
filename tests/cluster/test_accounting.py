"""What is published is delivered, filtered, dropped or waits: over a whole cluster, while clients come and go."""

import asyncio
import re

from prometheus_client.parser import text_string_to_metric_families

from tests.support.http import request
from tests.support.processes import cluster
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import PhoenixClient, run

ENV = {"MESH_ADMIN__PORT": "0", "MESH_GATEWAY__MAX_UNSENT_BYTES": "300000"}
PAD = 20_000


def operators(running):
    """The metrics' URLs: of the gateways, of the workers."""
    found = until_sync(
        lambda: (urls := re.findall(r"admin\s+(http://\S+)", running.log())) and len(urls) == 4 and urls
    )
    of_kind = {"gateway": [], "worker": []}
    for url in found:
        of_kind["gateway" if '"gateway"' in request(f"{url}/healthz")[1] else "worker"].append(url)
    return of_kind["gateway"], of_kind["worker"]


def scrape(url):
    families = text_string_to_metric_families(request(f"{url}/metrics")[1])
    return [sample for family in families for sample in family.samples]


def value(samples, name, **labels):
    return sum(
        each.value for each in samples if each.name == name and labels.items() <= each.labels.items()
    )


def check(samples):
    """On one gateway, for each route."""
    for route in {each.labels["route"] for each in samples if each.name == "mesh_fanout_expected_total"}:
        expected = value(samples, "mesh_fanout_expected_total", route=route)
        became = value(samples, "mesh_fanout_total", route=route)
        assert expected == became + value(samples, "mesh_fanout_waiting", route=route), route


async def look(gateways):
    """Scrape all gateways; the books must be right at any time."""
    seen = [await asyncio.to_thread(scrape, url) for url in gateways]
    for samples in seen:
        check(samples)
    return seen


async def publish(client, topic, first, count):
    client.cast(topic, "publish", {"first": first, "count": count, "pad": PAD})
    for number in range(first, first + count):
        assert (await client.event("even" if number % 2 == 0 else "odd"))[4]["n"] == number


async def comings_and_goings(urls, done):
    """Clients that join and leave, are cut off, and stop reading, until it is over."""
    stalled = []
    for number in range(10_000):
        if done.is_set():
            return stalled
        client = await PhoenixClient.connect(urls[number % 2])
        for topic in ("chat:1", "dashboard:1"):
            client.cast(topic, "phx_join")
        if number < 4:
            await client.event("phx_reply")
            client.socket.writer.transport.pause_reading()
            stalled.append(client)
        elif number % 3 == 0:
            client.socket.abort()
        elif number % 3 == 1:
            await client.event("phx_reply")
            client.cast("chat:1", "phx_leave")
            await client.event("phx_close")
            client.close()
        else:
            client.close()
        await asyncio.sleep(0)
    return stalled


def test_nothing_is_unaccounted_for_while_clients_stall_leave_join_and_die(tmp_path):
    with cluster(tmp_path, "tests.support.slow_app:endpoint", env=ENV) as running:
        gateways, workers = operators(running)

        async def scenario():
            urls = running.urls
            readers = [await PhoenixClient.connect(url) for url in urls]
            for reader in readers:
                for topic in ("chat:1", "dashboard:1"):
                    await reader.join(topic)
            await readers[0].join("ticker:1")  # on one gateway only
            done = asyncio.Event()
            others = asyncio.create_task(comings_and_goings(urls, done))
            for first in range(0, 1_000, 20):
                for topic in ("chat:1", "dashboard:1", "ticker:1"):
                    await publish(readers[0], topic, first, 20)
                while readers[1].messages or await heard(readers[1]):
                    readers[1].messages.clear()
                await look(gateways)
            done.set()
            await others
            return await settled(gateways)

        async def heard(reader):
            """Read what is there, up to the answer to a heartbeat; the second reader keeps up as well."""
            ref = reader.ref()
            reader.say(None, ref, "phoenix", "heartbeat", {})
            await reader.answer(ref)
            return False

        async def settled(gateways):
            published = sum(
                [value(await asyncio.to_thread(scrape, url), "mesh_broadcasts_total") for url in workers]
            )
            assert published == 3 * 1_000
            async with asyncio.timeout(PATIENCE):
                while True:
                    seen = await look(gateways)
                    if sum(value(each, "mesh_fanout_messages_total") for each in seen) == 5 * 1_000:
                        return seen

        seen = []
        run(_keep(scenario, seen))
        for samples in seen[0]:
            received = value(samples, "mesh_bus_received_total")
            unneeded = value(samples, "mesh_broadcasts_unneeded_total")
            assert received == value(samples, "mesh_fanout_messages_total") + unneeded
        assert (
            sum(value(each, "mesh_bus_received_total") for each in seen[0]) == 2 * 1_000 + 2 * 1_000 + 1_000
        )
        assert sum(value(each, "mesh_fanout_messages_total", route="ticker:*") for each in seen[0]) == 1_000
        dropped = {
            reason: sum(
                value(each, "mesh_fanout_total", result="dropped", reason=reason) for each in seen[0]
            )
            for reason in ("slow_client_closed", "client_gone", "conflated")
        }
        assert dropped["slow_client_closed"] > 0, dropped
        assert "slow client closed" in running.log()


async def _keep(scenario, results):
    results.append(await scenario())
