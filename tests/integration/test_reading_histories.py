"""Histories from everywhere: mesh.connect, the terminal, HTTP, an endpoint, over a real bus and a fake worker."""

import asyncio
import base64
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import AsyncExitStack

import pytest

import mesh
from mesh.app.history import KeptBroadcast
from mesh.errors import ApplicationError, ChannelError, HistoryUnavailableError, TopicError
from mesh.history.contract import UNREADABLE
from mesh.nodes.gateway import GatewayNode
from mesh.protocol.messages import JSON, MSGPACK
from mesh.settings import build
from tests.integration.connections import run
from tests.support.history_worker import StoreSource, UserSocket, endpoint, history_worker
from tests.support.proxy import free_address
from tests.support.until import PATIENCE, until

KEY = "a-key-of-20-letters-or-so"
PLAIN = (("/socket", "plain:*"),)
PATIENT = {"history": {"wait_seconds": 60.0}}


async def filled(count=3):
    source = StoreSource()
    for number in range(1, count + 1):
        await source.record("room:1", "msg", {"n": number})
    return source


def offsets(kept):
    return [each.offset for each in kept]


class Gateway:
    """A gateway in this process."""

    def __init__(self, node):
        self.node = node

    async def request(self, query, method="GET", key=KEY):
        """(status, body, headers)."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        made = urllib.request.Request(
            f"{self.node.addresses[0]}/api/history{query}", headers=headers, method=method
        )
        return await asyncio.to_thread(_send, made)


def _send(request):
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.loads(response.read()), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read()), error.headers


def with_gateway(scenario, **sections):
    """`scenario(gateway, address)` with a gateway of the application of history_worker.py."""

    async def started(address):
        given = {
            "gateway": {"port": 0},
            "bus": {"proxies": [address]},
            "api": {"keys": [KEY]},
            **PATIENT,
            **sections,
        }
        async with AsyncExitStack() as stack:
            await scenario(Gateway(await GatewayNode.start(stack, endpoint, build(given))), address)

    run(started)


# mesh.connect


def test_a_program_lists_and_removes_a_history():
    async def scenario(address):
        source = await filled()
        with history_worker(address, "worker-1", source):
            async with mesh.connect(address) as pubsub:
                kept = await pubsub.history("room:1", 2)
                assert kept == [
                    KeptBroadcast(each.offset, "msg", {"n": each.offset}, each.at)
                    for each in list(source.store.get("room:1").entries)[1:]
                ]
                assert time.time() - PATIENCE < kept[0].at < time.time()
                assert offsets(await pubsub.history("room:1", before=3)) == [1, 2]
                await pubsub.forget("room:1")
                assert await pubsub.history("room:1") == []
                assert source.forgotten == ["room:1"]

    run(scenario)


def test_a_program_learns_that_a_topic_has_no_history():
    async def scenario(address):
        with history_worker(address, "worker-1", StoreSource()):
            async with mesh.connect(address) as pubsub:
                for ask in (pubsub.history, pubsub.forget):
                    with pytest.raises(ChannelError, match="'plain:1' has no history"):
                        await ask("plain:1")
                    with pytest.raises(TopicError):
                        await ask("$nodes")
                with pytest.raises(ChannelError, match="limit is 0"):
                    await pubsub.history("room:1", 0)

    run(scenario)


def test_a_program_waits_for_a_worker_and_not_for_ever(monkeypatch):
    monkeypatch.setenv("MESH_HISTORY__WAIT_SECONDS", "0.2")

    async def scenario(address):
        async with mesh.connect(address) as pubsub:
            with pytest.raises(HistoryUnavailableError, match="no worker that records it is known"):
                await pubsub.history("room:1")

    run(scenario)


def test_a_program_asks_a_worker_that_starts_while_it_waits(monkeypatch):
    monkeypatch.setenv("MESH_HISTORY__WAIT_SECONDS", str(PATIENCE))

    async def scenario(address):
        async with mesh.connect(address) as pubsub:
            asking = asyncio.create_task(pubsub.history("room:1"))
            await pubsub.broadcast("room:1", "msg", {})  # a turn of the bus, in which it looks for workers
            assert not asking.done()
            with history_worker(address, "worker-1", await filled()):
                assert offsets(await asking) == [1, 2, 3]

    run(scenario)


def test_a_program_does_not_wait_for_a_worker_that_says_that_it_stops(monkeypatch):
    monkeypatch.setenv("MESH_HISTORY__WAIT_SECONDS", str(PATIENCE))

    class Silent(StoreSource):
        async def read(self, query):
            self.queries.append(query)
            await asyncio.Event().wait()

    async def scenario(address):
        async with mesh.connect(address) as pubsub:
            silent = Silent()
            with history_worker(address, "worker-1", silent):
                asking = asyncio.create_task(pubsub.history("room:1"))
                await until(lambda: silent.queries)
            with history_worker(address, "worker-2", await filled()):
                assert offsets(await asking) == [1, 2, 3]

    run(scenario)


# the terminal


async def command(*arguments, code=0, **environment):
    """Run `mesh history`; return its lines, or those of its errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "mesh",
        "history",
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"MESH_HISTORY__WAIT_SECONDS": "60", **environment},
    )
    output, errors = await process.communicate()
    assert process.returncode == code, errors.decode()
    return (errors if code else output).decode().splitlines()


def test_a_terminal_shows_and_removes_a_history():
    async def scenario(address):
        source = await filled()
        await source.record("room:1", "bytes", b"\x00\xff")
        with history_worker(address, "worker-1", source):
            lines = await command("room:1", "--limit", "2", "--proxy", address)
            stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
            assert re.fullmatch(rf'3 {stamp} msg {{"n":3}}', lines[0]), lines
            assert re.fullmatch(rf"4 {stamp} bytes \(2 bytes\)", lines[1]), lines
            rows = [json.loads(line) for line in await command("room:1", "--json", "--proxy", address)]
            assert [row["offset"] for row in rows] == [1, 2, 3, 4]
            assert rows[0] == {"offset": 1, "event": "msg", "payload": {"n": 1}, "at": rows[0]["at"]}
            assert rows[3]["payload"] == {"bytes": "00ff"}
            (row,) = await command("room:1", "--before", "2", "--json", "--proxy", address)
            assert json.loads(row)["offset"] == 1
            assert await command("room:1", "--forget", "--proxy", address) == []
            assert await command("room:1", "--proxy", address) == []
            await source.record("room:1", "msg", {"body": "some :tea: [red]"})
            (line,) = await command("room:1", "--proxy", address)
            assert line.endswith('msg {"body":"some :tea: [red]"}')

    run(scenario)


def test_a_terminal_shows_one_line_for_an_error():
    async def scenario(address):
        (line,) = await command("room:1", "--proxy", address, code=1, MESH_HISTORY__WAIT_SECONDS="0.1")
        expected = "the history of 'room:1' is not available: no worker that records it is known"
        assert line == f"mesh: {expected}"
        (line,) = await command("$nodes", "--proxy", address, code=2)
        assert "starts with '$'" in line
        with history_worker(address, "worker-1", StoreSource()):
            (line,) = await command("plain:1", "--proxy", address, code=2)
            assert "'plain:1' has no history" in line

    run(scenario)
    assert "no proxy answered" in asyncio.run(command("room:1", "--proxy", free_address(), code=1))[-1]


# the endpoint of a gateway, and HTTP


def test_an_endpoint_lists_and_removes_a_history():
    async def scenario(gateway, address):
        with history_worker(address, "worker-1", await filled()):
            assert offsets(await endpoint.history("room:1", 2)) == [2, 3]
            assert offsets(await endpoint.history("room:1", before=2)) == [1]
            await endpoint.forget("room:1")
            assert await endpoint.history("room:1") == []
            with pytest.raises(ChannelError, match="its Channel class declares none"):
                await endpoint.history("plain:1")

    with_gateway(scenario)


def test_a_history_is_read_over_http():
    async def scenario(gateway, address):
        source = await filled()
        await source.record("room:1", "bytes", b"\x00\xff")
        await source.record("room:1", "packed", b"\x81\xa1n\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", MSGPACK)
        epoch = source.store.get("room:1").epoch
        with history_worker(address, "worker-1", source):
            status, body, headers = await gateway.request("?topic=room:1")
            assert (status, headers["Content-Type"]) == (200, "application/json")
            messages = body.pop("messages")
            assert body == {"epoch": epoch, "offset": 5, "complete": True}
            assert [each.pop("offset") for each in messages] == [1, 2, 3, 4, 5]
            assert all(time.time() - PATIENCE < each.pop("at") < time.time() for each in messages)
            assert messages == [
                {"event": "msg", "payload": {"n": 1}},
                {"event": "msg", "payload": {"n": 2}},
                {"event": "msg", "payload": {"n": 3}},
                {"event": "bytes", "data": base64.b64encode(b"\x00\xff").decode()},
                {"event": "packed", "payload": {"n": 1.5}},
            ]
            for query, found, complete in (
                ("&limit=2", [4, 5], True),
                ("&limit=2&before=3", [1, 2], True),
                (f"&epoch={epoch}&after=2", [3, 4, 5], True),
                (f"&epoch={epoch}&after=1&limit=2", [2, 3], False),
                ("&after=5", [], True),
                ("&after=6", [], False),
                ("&epoch=other&after=2", [], False),
            ):
                status, body, _ = await gateway.request(f"?topic=room%3A1{query}")
                assert [each["offset"] for each in body["messages"]] == found, query
                assert (status, body["complete"], body["epoch"]) == (200, complete, epoch), query

    with_gateway(scenario)


def test_a_large_history_is_read_over_http_in_pages():
    async def scenario(gateway, address):
        source = StoreSource()
        for _ in range(5):
            await source.record("room:1", "msg", {"text": "x" * 400_000})
        with history_worker(address, "worker-1", source):
            status, body, _ = await gateway.request("?topic=room:1&after=0")
            found = [each["offset"] for each in body["messages"]]
            assert (status, found, body["complete"]) == (200, [1, 2], False)
            _, body, _ = await gateway.request("?topic=room:1&after=2&limit=3")
            assert [each["offset"] for each in body["messages"]] == [3, 4]
            _, body, _ = await gateway.request("?topic=room:1&before=4")
            assert ([each["offset"] for each in body["messages"]], body["complete"]) == ([2, 3], False)

    with_gateway(scenario)


def test_a_message_that_json_cannot_express_is_left_out_over_http():
    async def scenario(gateway, address):
        source = StoreSource()
        await source.record("room:1", "broken", b'{"n": \xff}', JSON)
        await source.record("room:1", "packed", b"\xd4\x05\x00", MSGPACK)
        await source.record("room:1", "msg", {"n": 3})
        with history_worker(address, "worker-1", source):
            status, body, _ = await gateway.request("?topic=room:1")
            assert (status, [each["offset"] for each in body["messages"]]) == (200, [3])

    with_gateway(scenario)


def test_a_history_is_removed_over_http():
    async def scenario(gateway, address):
        source = await filled()
        before = source.store.get("room:1").epoch
        with history_worker(address, "worker-1", source):
            assert (await gateway.request("?topic=room:1", "DELETE"))[:2] == (200, {})
            _, body, _ = await gateway.request("?topic=room:1")
            assert (body["offset"], body["messages"]) == (0, [])
            assert body["epoch"] != before

    with_gateway(scenario)


def test_a_request_that_cannot_be_carried_out_is_answered_with_a_sentence():
    async def scenario(gateway, address):
        source = StoreSource()
        refusals = [
            ("", 400, "topic is missing"),
            ("?topic=", 400, "topic is missing"),
            ("?topic=$nodes", 400, "starts with '$'"),
            ("?topic=%00", 400, "contains NUL"),
            ("?topic=%zz", 400, "not an escape"),
            ("?topic[]=room:1", 400, "topic is nested"),
            ("?topic=room:1&last=3", 400, "unknown parameter 'last'"),
            ("?topic=room:1&limit=0", 400, "limit is '0'; want an integer from 1 to 1000"),
            ("?topic=room:1&limit=1001", 400, "want an integer from 1 to 1000"),
            ("?topic=room:1&limit=" + "9" * 5_000, 400, "want an integer from 1 to 1000"),
            ("?topic=room:1&before=0", 400, "before is '0'"),
            ("?topic=room:1&after=-1", 400, "after is '-1'; want an integer from 0"),
            ("?topic=room:1&after=9007199254740993", 400, "after is '9007199254740993'"),
            ("?topic=room:1&after=1.5", 400, "after is '1.5'"),
            ("?topic=room:1&after=" + urllib.parse.quote("²"), 400, "after is '²'"),
            ("?topic=room:1&epoch=e", 400, "epoch without after"),
            ("?topic=room:1&after=1&epoch=", 400, "epoch has 0 characters"),
            ("?topic=room:1&after=1&epoch=" + "e" * 65, 400, "epoch has 65 characters"),
            ("?topic=plain:1", 404, "'plain:1' has no history"),
            ("?topic=nowhere", 404, "'nowhere' has no history"),
        ]
        with history_worker(address, "worker-1", source):
            for query, wanted, sentence in refusals:
                status, body, _ = await gateway.request(query)
                assert (status, sentence in body["error"]) == (wanted, True), (query, body)
            for query, wanted in (("", 400), ("?topic=room:1&limit=1", 400), ("?topic=plain:1", 404)):
                assert (await gateway.request(query, "DELETE"))[0] == wanted, query
            for key in (None, "another-key-of-many-letters"):
                for method in ("GET", "DELETE"):
                    status, body, headers = await gateway.request("?topic=room:1", method, key)
                    assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
                    assert "Authorization" in body["error"]
            for method in ("POST", "PUT"):
                status, body, headers = await gateway.request("?topic=room:1", method)
                assert (status, headers["Allow"]) == (405, "GET, DELETE")
                assert "want GET or DELETE" in body["error"]
        assert (source.queries, source.forgotten) == ([], [])

    with_gateway(scenario)


def test_a_history_that_is_not_available_is_answered_with_503():
    class Unreadable(StoreSource):
        async def read(self, query):
            return UNREADABLE

    async def scenario(gateway, address):
        status, body, headers = await gateway.request("?topic=room:1")
        assert (status, headers["Retry-After"]) == (503, "1")
        assert "no worker that records it is known" in body["error"]
        with history_worker(address, "worker-1", StoreSource(), history=PLAIN):
            assert (await gateway.request("?topic=room:1", "DELETE"))[0] == 503
        with history_worker(address, "worker-2", Unreadable()):
            await until(
                lambda: "worker-2" in map(_name, gateway.node._membership.announcer.placement.nodes())
            )
            status, body, _ = await gateway.request("?topic=room:1")
            assert (status, "worker-2 cannot read it now" in body["error"]) == (503, True)

    with_gateway(scenario, history={"wait_seconds": 0.5})


def _name(announcement):
    return announcement.node


def test_without_keys_there_is_no_history_over_http():
    async def scenario(gateway, address):
        request = urllib.request.Request(f"{gateway.node.addresses[0]}/api/history?topic=room:1")
        with pytest.raises(urllib.error.HTTPError) as caught:
            await asyncio.to_thread(urllib.request.urlopen, request, timeout=PATIENCE)
        assert caught.value.code == 404
        caught.value.close()

    with_gateway(scenario, api={})


def test_a_handler_of_the_application_cannot_take_the_path():
    taken = mesh.Endpoint({"/socket": UserSocket}, http=[("/api/history", object)])

    async def scenario(address):
        given = {"gateway": {"port": 0}, "bus": {"proxies": [address]}, "api": {"keys": [KEY]}}
        async with AsyncExitStack() as stack:
            with pytest.raises(ApplicationError, match="/api/history is taken"):
                await GatewayNode.start(stack, taken, build(given))

    run(scenario)
