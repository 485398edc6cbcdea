"""/healthz, /readyz and /metrics: the truth during start, partition, deaths and drain."""

import json
import os
import signal

from prometheus_client.parser import text_string_to_metric_families

from mesh.nodes.metrics import DELIVERY_METRICS, GAUGES, HISTOGRAMS, TOTALS
from mesh.telemetry import COUNTERS
from tests.support.http import request
from tests.support.processes import node, serve
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import PhoenixClient, run

APP = "examples.conformance:endpoint"
QUICK = {
    "MESH_ADMIN__READY_SECONDS": "0.5",
    "MESH_BUS__HEARTBEAT_SECONDS": "0.2",
    "MESH_BUS__HEARTBEAT_TIMEOUT_SECONDS": "0.6",
}


def ready(url):
    status, body = request(f"{url}/readyz")
    answer = json.loads(body)
    assert (status == 200) == (answer["wrong"] == {}), answer
    return answer["wrong"]


def admin(process):
    return process.wait_for(r"admin\s+(http://\S+)")[1]


def metrics(url):
    families = text_string_to_metric_families(request(f"{url}/metrics")[1])
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in families
        for sample in family.samples
    }


def test_embedded_health_and_what_it_counts(tmp_path):
    with serve(tmp_path, APP, env={"MESH_ADMIN__PORT": "0"}) as (process, url):
        status, body = request(f"{url}/healthz")
        assert status == 200
        assert json.loads(body)["kind"] == "gateway"
        until_sync(lambda: not ready(url))
        assert request(f"{url}/metrics")[0] == 404, "only on the port for operators"
        operators = admin(process)
        assert request(f"{operators}/healthz")[0] == 200

        async def scenario():
            clients = [await PhoenixClient.connect(url) for _ in range(3)]
            for client in clients:
                await client.join("room:1")
            await clients[0].join("room:private")
            await clients[0].push("room:1", "echo", {"a": 1})
            clients[0].cast("room:1", "push_me", {})
            clients[0].cast("room:1", "new_msg", {})
            for client in clients:
                await client.event("new_msg")
            clients[1].cast("room:1", "crash", {})
            await clients[1].event("phx_error")
            seen = metrics(operators)
            expected = {
                ("mesh_connections_total",): 3,
                ("mesh_open_connections", "websocket"): 3,
                ("mesh_open_connections", "longpoll"): 0,
                ("mesh_open_channels",): 2,
                ("mesh_topics",): 1,
                ("mesh_joins_total", "ok"): 3,
                ("mesh_joins_total", "error"): 1,
                ("mesh_pushes_total",): 3,
                ("mesh_replies_total",): 1,
                ("mesh_channel_pushes_total",): 1,
                ("mesh_broadcasts_total",): 1,
                ("mesh_channels_crashed_total",): 1,
                ("mesh_join_seconds_count",): 4,
                ("mesh_handle_in_seconds_count",): 3,
                ("mesh_links",): 1,
                ("mesh_bus_connected",): 1,
                ("mesh_bus_backlog_messages",): 0,
                ("mesh_ready",): 1,
            }
            assert {name: seen[name] for name in expected} == expected
            assert seen["mesh_deliveries_total",] == 3
            assert seen["mesh_messages_in_total",] == 8
            names = {name[0] for name in seen}
            assert {f"mesh_{name}_total" for name in (*TOTALS, *COUNTERS)} <= names
            assert {f"mesh_{name}" for name in (*GAUGES, *DELIVERY_METRICS)} <= names
            assert {f"mesh_{name}_bucket" for name in HISTOGRAMS} <= names

        run(scenario())


def test_a_gateway_is_ready_only_with_a_proxy_and_workers(tmp_path):
    address = {**QUICK, "MESH_BUS__PROXIES": f"ipc://{tmp_path}/proxy"}
    with node(tmp_path, "gateway", APP, "--port", "0", env=address) as gateway:
        url = gateway.url()
        assert request(f"{url}/healthz")[0] == 200
        wrong = ready(url)
        assert "no probe has come back" in wrong["bus"]
        assert wrong["workers"] == "no worker for room:*, bench:*, presence:*"
        with node(tmp_path, "proxy", env=address):
            until_sync(lambda: "bus" not in ready(url))
            assert "workers" in ready(url)
            with node(tmp_path, "worker", APP, env={**address, "MESH_ADMIN__PORT": "0"}) as worker:
                until_sync(lambda: not ready(url))
                until_sync(lambda: not ready(admin(worker)))
                assert metrics(admin(worker))["mesh_links",] == 1
            until_sync(lambda: "workers" in ready(url))
        until_sync(lambda: "bus" in ready(url))


def test_a_proxy_that_is_frozen_shows_although_everything_else_looks_well(clusters):
    running = clusters(APP, **QUICK)
    for url in running.urls:
        until_sync(lambda url=url: not ready(url))
    pid = running.kill("proxy", 0, signal.SIGSTOP)
    try:
        for url in running.urls:
            until_sync(lambda url=url: "no probe has come back" in ready(url).get("bus", ""))
            assert request(f"{url}/healthz")[0] == 200
    finally:
        os.kill(pid, signal.SIGCONT)
    for url in running.urls:
        until_sync(lambda url=url: not ready(url))


def test_every_node_of_a_cluster_has_its_own_port_for_operators(clusters):
    running = clusters(APP, **QUICK)
    found = {name: running.admin(name) for name in ("gateway.1", "gateway.2", "worker.1", "worker.2")}
    assert len(set(found.values())) == 4
    kinds = [json.loads(request(f"{url}/healthz")[1])["kind"] for url in found.values()]
    assert kinds == ["gateway", "gateway", "worker", "worker"]


def test_a_draining_gateway_says_so_to_operators(tmp_path):
    env = {
        "MESH_ADMIN__PORT": "0",
        "MESH_DRAIN__BATCH_SIZE": "1",
        "MESH_DRAIN__INTERVAL_SECONDS": "1",
    }
    with serve(tmp_path, APP, env=env) as (process, url):
        until_sync(lambda: not ready(url))
        operators = admin(process)

        async def scenario():
            clients = [await PhoenixClient.connect(url) for _ in range(2)]
            process.popen.send_signal(signal.SIGTERM)
            assert await clients[0].socket.recv_close() == 1012
            assert ready(operators)["draining"] == "this node is stopping"
            for client in clients:
                client.close()

        run(scenario())
        assert process.popen.wait(PATIENCE) == 0


def test_a_channel_that_blocks_its_node_is_exported_and_logged(tmp_path):
    env = {"MESH_ADMIN__PORT": "0", "MESH_ADMIN__STALL_WARNING_SECONDS": "0.1"}
    with serve(tmp_path, "tests.support.apps:endpoint", env=env) as (process, url):
        operators = admin(process)

        async def scenario():
            client = await PhoenixClient.connect(url)
            await client.join("slow:1")
            await client.push("slow:1", "block", {"seconds": 0.5})
            await client.push("slow:1", "block", {"seconds": 0.0})

        run(scenario())
        process.wait_for("the event loop was held up")
        seen = metrics(operators)
        assert seen["mesh_loop_stall_seconds",] >= 0.4
        assert seen["mesh_loop_stalls_total",] >= 1
        assert seen["mesh_loop_turn_seconds_count",] >= 1
