"""A proxy, a worker and a gateway with tests.support.pressure_app, and clients that send too fast."""

import contextlib
from types import SimpleNamespace

from prometheus_client.parser import text_string_to_metric_families

from tests.support.http import request
from tests.support.processes import node
from tests.support.websocket import PhoenixClient

APP = "tests.support.pressure_app:endpoint"
CHUNK = "x" * 50_000
FLOOD = 400
"""Messages of CHUNK: 20 MB, more than all kernel buffers on the way."""
SETTINGS = {
    "MESH_ADMIN__PORT": "0",
    "MESH_GATEWAY__PAUSE_PUBLISHER_SECONDS": "60",
    "MESH_GATEWAY__MAX_UNSENT_BYTES": str(
        FLOOD * len(CHUNK)
    ),  # publishers wait long before it, however late
    "MESH_LONGPOLL__WINDOW_SECONDS": "30",
    "MESH_LINK__HIGH_WATER_MARK": "20",  # a worker that is held up gets little before it can say "pause"
    "MESH_LINK__PAUSE_BYTES": "4000000",
    # A worker that gets no CPU time for seconds says "pause" late.
    "MESH_WORKER__MAX_MAILBOX_MESSAGES": "50000",
    "MESH_LOG__LEVEL": "debug",
}


@contextlib.contextmanager
def mesh_of(directory, env=None):
    """A proxy, a worker and a gateway, each a process."""
    env = {**SETTINGS, **(env or {})}
    proxy = f"ipc://{directory}/p"
    with (
        node(directory, "proxy", "--bind", proxy, env=env),
        node(directory, "worker", APP, "--proxy", proxy, env=env) as worker,
        node(directory, "gateway", APP, "--port", "0", "--proxy", proxy, env=env) as gateway,
    ):
        gateway.wait_for("linked to worker")
        yield SimpleNamespace(worker=worker, gateway=gateway, url=gateway.wait_for(r"listening\s+(\S+)")[1])


def metric(process, name, **labels):
    admin = process.wait_for(r"admin\s+(http://\S+)")[1]
    for family in text_string_to_metric_families(request(f"{admin}/metrics")[1]):
        for sample in family.samples:
            if sample.name == f"mesh_{name}" and sample.labels == labels:
                return sample.value
    raise AssertionError(f"no metric {name} {labels}")


def paused(mesh, reason="channel"):
    return metric(mesh.gateway, "readers_paused", reason=reason)


async def flood(client, topic, event, count=FLOOD, **more):
    """Push as fast as the connection takes it."""
    for number in range(count):
        client.cast(topic, event, {"n": number, "data": CHUNK, **more})
        await client.socket.writer.drain()


async def replies(client, count):
    """The numbers in the next `count` replies."""
    got = []
    while len(got) < count:
        message = await client.next()
        if message[3] == "phx_reply":
            assert message[4]["status"] == "ok", message
            got.append(message[4]["response"]["n"])
    return got


@contextlib.asynccontextmanager
async def gate(mesh):
    """A client that holds the gate; it is open again at the end."""
    client = await PhoenixClient.connect(mesh.url)
    await client.join("gate:1")
    await client.push("gate:1", "shut")
    try:
        yield client
    finally:
        await client.push("gate:1", "open")
