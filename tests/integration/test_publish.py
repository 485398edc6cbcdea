"""The publishing API over real sockets: POST, and what clients get."""

import asyncio
import http.client
import json
import shutil
import subprocess
from urllib.parse import urlsplit

import pytest

import mesh
from mesh.bus.zeromq.backlog import Backlog
from mesh.errors import UnreachableError
from mesh.gateway.http.publish import PublishApi
from mesh.settings import ApiSettings, Secret
from tests.support.http import request as plain_request
from tests.support.processes import ROOT, Process, serve
from tests.support.proxy import bus, free_address, proxy
from tests.support.until import PATIENCE, until
from tests.support.websocket import PhoenixClient, open_connection, run

KEYS = ["a-key-of-20-letters-or-so", "another-key-of-many-letters"]
APP = "examples.conformance:endpoint"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    env = {
        "MESH_API__KEYS": ",".join(KEYS),
        "MESH_API__MAX_BODY_BYTES": "100000",
        "MESH_API__IDEMPOTENCY_SECONDS": "600",
    }
    with serve(tmp_path_factory.mktemp("serve"), APP, env=env) as (_, address):
        yield address


def post(url, action, body, key=KEYS[0], method="POST", **headers):
    """(status, headers, decoded body)."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        connection.request(method, f"/api/{action}", data, sent)
        response = connection.getresponse()
        return response.status, response.headers, json.loads(response.read())
    finally:
        connection.close()


async def posted(*args, **headers):
    status, _, body = await asyncio.to_thread(post, *args, **headers)
    return status, body


def message(topic="room:1", event="news", **payload):
    return {"topic": topic, "event": event, "payload": payload}


def test_a_broadcast_reaches_the_members(url):
    async def scenario():
        client = await PhoenixClient.connect(url)
        await client.join("room:1")
        for key in KEYS:
            assert await posted(url, "broadcast", message(n=key), key=key) == (200, {"published": 1})
            assert await client.next() == [None, None, "room:1", "news", {"n": key}]

    run(scenario())


def test_a_batch_arrives_in_order_and_all_or_nothing(url):
    async def scenario():
        client = await PhoenixClient.connect(url)
        await client.join("room:1")
        await client.join("room:2")
        batch = [message(f"room:{n % 2 + 1}", n=n) for n in range(1_000)]
        wrong = {"messages": [*batch[:5], message("$room")]}
        status, body = await posted(url, "broadcast_batch", wrong)
        assert (status, "messages[5]: topic '$room'" in body["error"]) == (400, True)
        status, body = await posted(url, "broadcast_batch", {"messages": [*batch, message()]})
        assert (status, body["error"]) == (413, "1001 messages; at most 1000 in one request")
        await client.silent()
        assert await posted(url, "broadcast_batch", {"messages": batch}) == (200, {"published": 1_000})
        assert [(await client.next())[4]["n"] for _ in batch] == list(range(1_000))

    run(scenario())


def test_disconnect_closes_the_sockets_with_that_id(url):
    async def scenario():
        one = await PhoenixClient.connect(url, "user_id=7")
        other = await PhoenixClient.connect(url, "user_id=8")
        assert await posted(url, "disconnect", {"socket_id": "users:7"}) == (200, {"published": 1})
        assert await one.socket.recv_close() == 1001
        await other.silent()

    run(scenario())


def test_a_repeat_with_the_same_key_is_not_published_again(url):
    async def scenario():
        client = await PhoenixClient.connect(url)
        await client.join("room:1")

        async def once(key, body, api_key=KEYS[0]):
            return await asyncio.to_thread(post, url, "broadcast", body, key=api_key, Idempotency_Key=key)

        status, headers, body = await once("k1", message(n=1))
        assert (status, headers["Idempotency-Replayed"], body) == (200, None, {"published": 1})
        for _ in range(3):
            status, headers, body = await once("k1", message(n=1))
            assert (status, headers["Idempotency-Replayed"], body) == (200, "true", {"published": 1})
        status, _, body = await once("k1", message(n=2))
        assert (status, "used for another request" in body["error"]) == (409, True)
        assert (await once("k2", message(n=2)))[0] == 200
        assert (await once("k1", message(n=3), KEYS[1]))[0] == 200, "another API key's keys are its own"
        assert [(await client.next())[4]["n"] for _ in range(3)] == [1, 2, 3]
        answers = await asyncio.gather(*(once("k3", message(n=4)) for _ in range(20)))
        assert sum(headers["Idempotency-Replayed"] is None for _, headers, _ in answers) == 1
        assert {status for status, _, _ in answers} == {200}
        assert (await client.next())[4]["n"] == 4
        await client.silent()
        for wrong in ("", "k" * 256):
            status, _, body = await once(wrong, message())
            assert (status, "want 1 to 255" in body["error"]) == (400, True)
        assert (await once("k" * 255, message("room:nobody")))[0] == 200

    run(scenario())


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        f"Basic {KEYS[0]}",
        KEYS[0],
        f"Bearer {KEYS[0]}x",
        "Bearer ü",
    ],
)
def test_without_a_valid_key_nothing_is_published(url, authorization):
    headers = {} if authorization is None else {"Authorization": authorization}
    status, answered, body = post(url, "broadcast", message(), key=None, **headers)
    assert (status, answered["WWW-Authenticate"]) == (401, "Bearer")
    assert body == {"error": "want the header 'Authorization: Bearer KEY' with a valid key"}


@pytest.mark.parametrize("size", [100_001, 3_000_000, 20_000_000])
@pytest.mark.parametrize("key", [KEYS[0], None])
def test_a_body_beyond_the_limit_is_refused(url, size, key):
    try:
        status, _, body = post(url, "broadcast", b" " * size, key=key)
    except ConnectionError:
        assert size > 16_000_000, "only then the gateway hangs up before all was sent"
        return
    assert status == (413 if key else 401)
    assert key is None or f"a body of {size} bytes" in body["error"]


def test_a_body_of_the_limit_is_read_and_more_in_pieces_is_not(url):
    padding = 100_000 - len(json.dumps(message(a="")))
    assert post(url, "broadcast", message(a="x" * padding))[0] == 200

    async def scenario():
        reader, writer = await open_connection(*urlsplit(url).netloc.split(":"))
        writer.write(
            b"POST /api/broadcast HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            b"Authorization: Bearer " + KEYS[0].encode() + b"\r\n\r\n"
        )
        for _ in range(20):
            writer.write(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        writer.write(b"0\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()

    run(scenario())


def test_a_client_that_asks_before_it_sends_too_much_is_spared(url):
    async def scenario():
        reader, writer = await open_connection(*urlsplit(url).netloc.split(":"))
        writer.write(
            b"POST /api/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n"
            b"Authorization: Bearer " + KEYS[0].encode() + b"\r\n\r\n"
        )
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.close()

    run(scenario())


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(url, method):
    status, headers, body = post(url, "broadcast", b"", method=method)
    assert (status, headers["Allow"], body) == (405, "POST", {"error": "Method Not Allowed; want POST"})


def test_what_is_wrong_is_named_as_json(url):
    status, headers, body = post(url, "broadcast", b"{")
    assert (status, headers["Content-Type"]) == (400, "application/json")
    assert body["error"].startswith("the body is not JSON")


def test_without_keys_there_is_no_api(conformance):
    assert plain_request(f"{conformance[1]}/api/broadcast", {})[0] == 404


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"MESH_API__KEYS": "short-secret"}, "want 16 to 256 printable ASCII"),
        ({"MESH_API__KEYS": KEYS[0], "MESH_API__PATH": "api"}, "want for example '/api'"),
    ],
)
def test_unusable_settings_are_told_and_no_key_is_shown(tmp_path, env, words):
    process = Process(tmp_path, "serve", APP, "--port", "0", env=env)
    assert process.popen.wait(PATIENCE) == 2
    assert words in process.log()
    assert env["MESH_API__KEYS"] not in process.log()


def test_a_handler_of_the_applications_own_at_that_path_is_an_error(tmp_path):
    app = tmp_path / "own_api.py"
    app.write_text(
        "from mesh import Endpoint\nfrom tornado.web import RequestHandler\n"
        "endpoint = Endpoint(sockets={}, http=[(r'/api/.*', RequestHandler)])\n"
    )
    env = {"MESH_API__KEYS": KEYS[0], "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    process = Process(tmp_path, "serve", "own_api:endpoint", "--port", "0", env=env)
    assert process.popen.wait(PATIENCE) == 2
    assert "taken by the application's own '/api/.*'; set api.path" in process.log()


@pytest.mark.parametrize("arguments", [["settings"], ["settings", "--json"]])
def test_keys_are_not_shown_with_the_settings(tmp_path, arguments):
    process = Process(tmp_path, *arguments, env={"MESH_API__KEYS": ",".join(KEYS)})
    assert process.popen.wait(PATIENCE) == 0
    assert "MESH_API__KEYS" in process.log()
    assert "(hidden)" in process.log()
    assert not any(key in process.log() for key in KEYS)


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_is_enough(url):
    command = ["curl", "-sS", f"{url}/api/broadcast", "-H", f"Authorization: Bearer {KEYS[0]}"]
    body = json.dumps(message("room:nobody"))
    done = subprocess.run([*command, "-d", body], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == '{"published":1}', done.stderr


def test_what_is_lost_is_published_again_when_its_request_is_repeated():
    async def scenario():
        address = free_address()
        settings = ApiSettings(keys=[Secret(KEYS[0])])
        body = json.dumps(message(n=1)).encode()
        with bus(address, "gateway") as node:
            api = PublishApi(node, settings)
            async with proxy(address), mesh.connect(address) as pubsub:
                publisher = node.publisher
                await until(lambda: publisher.connected)
                usable, backlog = publisher.in_use, publisher._backlog
                publisher._topics.use([])  # as if the proxy were lost this very moment
                publisher._backlog = Backlog(max_messages=0)
                with pytest.raises(UnreachableError, match="overloaded"):
                    await api.publish("broadcast", body, "key")
                publisher._topics.use(usable)
                publisher._backlog = backlog
                async with pubsub.subscribe("room:1") as broadcasts:
                    assert await api.publish("broadcast", body, "key") == (1, False)
                    assert await api.publish("broadcast", body, "key") == (1, True)
                    async for broadcast in broadcasts:
                        assert broadcast.payload == {"n": 1}
                        break

    run(scenario())
