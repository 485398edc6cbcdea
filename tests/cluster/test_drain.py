"""SIGTERM: a gateway sends its clients away in batches, with a code that brings them back elsewhere."""

import asyncio
import signal
import time

from tests.support.processes import cluster, node, serve
from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient, run


def test_clients_are_closed_with_1012_batch_by_batch(tmp_path):
    env = {"MESH_DRAIN__BATCH_SIZE": "2", "MESH_DRAIN__INTERVAL_SECONDS": "2"}
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            clients = [await PhoenixClient.connect(url) for _ in range(6)]
            for client in clients[:5]:  # one has no channel
                await client.join("room:1")
            process.popen.send_signal(signal.SIGTERM)

            async def closed(client):
                assert await client.socket.recv_close() == 1012
                client.close()
                return time.monotonic()

            times = sorted(await asyncio.gather(*map(closed, clients)))
            assert times[2] - times[1] > 1
            assert times[4] - times[3] > 1
            assert times[1] - times[0] < times[2] - times[1]

        run(scenario())
        assert process.popen.wait(PATIENCE) == 0
        assert process.log().count("draining") == 3


def test_a_drain_that_would_take_too_long_closes_the_rest_at_once(tmp_path):
    env = {
        "MESH_DRAIN__BATCH_SIZE": "1",
        "MESH_DRAIN__INTERVAL_SECONDS": "1",
        "MESH_DRAIN__SHUTDOWN_SECONDS": "1.5",
    }
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            clients = [await PhoenixClient.connect(url) for _ in range(20)]
            started = time.monotonic()
            process.popen.send_signal(signal.SIGTERM)
            for client in clients:
                assert await client.socket.recv_close() == 1012
                client.close()
            assert time.monotonic() - started < 15

        run(scenario())
        assert process.popen.wait(PATIENCE) == 0


def test_channels_of_a_drained_gateway_end_for_that_reason_and_it_takes_no_new_clients(tmp_path):
    env = {"MESH_DRAIN__BATCH_SIZE": "1", "MESH_DRAIN__INTERVAL_SECONDS": "3"}
    with cluster(tmp_path, "tests.support.apps:endpoint", workers=1, env=env) as running:

        async def scenario():
            watcher = await PhoenixClient.connect(running.urls[1])
            await watcher.join("watch:ends")
            leaving = [await PhoenixClient.connect(running.urls[0]) for _ in range(2)]
            for number, client in enumerate(leaving):
                await client.join(f"info:{number}")
            url = running.urls[0]
            running.kill("gateways", 0, signal.SIGTERM)
            assert await leaving[0].socket.recv_close() == 1012
            try:
                await PhoenixClient.connect(url)
            except ConnectionRefusedError:
                pass
            else:
                raise AssertionError("a gateway that stops takes new clients")
            assert await leaving[1].socket.recv_close() == 1012
            ended = [(await watcher.event("ended"))[4] for _ in leaving]
            assert {each["reason"] for each in ended} == {"draining"}

        run(scenario())


def test_a_gateway_without_clients_stops_at_once(tmp_path):
    env = {"MESH_DRAIN__INTERVAL_SECONDS": "60"}
    with node(tmp_path, "serve", "examples.conformance:endpoint", "--port", "0", env=env) as process:
        process.url()
        process.popen.terminate()
        assert process.popen.wait(PATIENCE) == 0, "it waits for no batch"
