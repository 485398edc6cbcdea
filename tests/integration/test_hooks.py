"""Every hook there is, in an embedded node that this process runs."""

from contextlib import AsyncExitStack

from examples.conformance import endpoint
from mesh import telemetry
from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from tests.support.until import until
from tests.support.websocket import PhoenixClient, Refused, run


def test_every_event_is_told_with_what_the_table_promises():
    told = {}

    def hear(event, measurements, metadata):
        told.setdefault(event, []).append((measurements, metadata))

    async def scenario():
        async with AsyncExitStack() as stack:
            node = await EmbeddedNode.start(stack, endpoint, build({"gateway": {"port": 0}}))
            url = node.gateway.addresses[0]
            client = await PhoenixClient.connect(url, "user_id=7")
            try:
                await PhoenixClient.connect(url, "token=bad")
            except Refused:
                pass
            await client.join("room:1")
            await client.join("room:private")
            await client.join("nope:1")
            await client.push("room:1", "echo", {})
            client.cast("room:1", "new_msg", {"a": 1})
            client.cast("room:1", "crash", {})
            await client.event("phx_error")
            await client.join("room:2")
            client.close()
            await until(lambda: "socket_disconnected" in told)
            await PhoenixClient.connect(url)

    for event in telemetry.EVENTS:
        telemetry.attach(event, hear)
    try:
        run(scenario())
    finally:
        for event in telemetry.EVENTS:
            telemetry.detach(event, hear)

    assert set(told) == set(telemetry.EVENTS)
    for event, description in telemetry.EVENTS.items():
        measurements, _, metadata = description.partition(";")
        for given, said in told[event]:
            assert all(name in measurements for name in given), (event, given)
            assert all(name in metadata for name in said), (event, said)
    assert [said["result"] for _, said in told["socket_connected"]] == ["ok", "refused", "ok"]
    assert [said["result"] for _, said in told["channel_joined"]] == ["ok", "error", "ok"]
    assert [said["event"] for _, said in told["channel_handled_in"]] == ["echo", "new_msg"]
    assert [said["reason"] for _, said in told["socket_disconnected"]] == ["closed", "draining"]
    assert told["broadcast"][0] == ({"bytes": 7}, {"topic": "room:1", "event": "new_msg"})
    assert told["topic_unmatched"] == [({}, {"topic": "nope:1"})]
