"""Request bodies: read only where a route takes them, and bounded."""

import asyncio
import json

import pytest

from tests.integration.http.requests import KEY
from tests.support.processes import rss
from tests.support.raw_http import RawHTTP, ask
from tests.support.websocket import run


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/nowhere", "POST", 405),
        ("/app.js", "POST", 405),
        ("/app.js", "GET", 413),
        ("/healthz", "POST", 405),
        ("/healthz", "GET", 413),
        ("/readyz", "PUT", 405),
        ("/socket/websocket", "POST", 400),
        ("/socket/longpoll", "PUT", 400),
        ("/form", "PUT", 405),
        ("/form", "POST", 413),
        ("/socket/longpoll", "POST", 413),
        ("/api/broadcast", "POST", 401),
        ("/api/broadcast", "GET", 405),
    ],
)
@pytest.mark.parametrize("expect", [(), ("Expect: 100-continue",)])
def test_a_body_that_no_route_takes_is_not_read(url, target, method, status, expect):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request(target, method, ["Content-Length: 8000000", *expect])
        answer = await connection.answer()  # nothing of the body was sent
        assert answer.status == status
        assert answer.headers["connection"] == "close"
        connection.send(b"x" * 8_000_000)
        assert await connection.ended()
        connection.close()

    run(scenario())


def test_a_body_that_a_route_takes_is_asked_for_with_100_continue(url):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request("/form", "POST", ["Content-Length: 5", "Expect: 100-continue"])
        assert (await connection.answer()).status == 100
        connection.send(b"hello")
        assert json.loads((await connection.answer()).body) == {"bytes": 5, "fields": []}
        connection.close()

    run(scenario())


def test_bodies_that_no_route_takes_use_no_memory(server):
    process, url = server

    async def scenario():
        await ask(url, "/healthz")
        before = rss(process.popen.pid)
        connections = [await RawHTTP.connect(url) for _ in range(100)]
        for connection in connections:
            connection.request("/nowhere", "POST", body=b"x" * 2_000_000)
        peak = before
        for connection in connections:
            peak = max(peak, rss(process.popen.pid))
            assert (await connection.answer()).status == 405
            connection.close()
        assert peak - before < 40_000_000, "200 MB were sent"

    run(scenario())


def test_bodies_are_bounded_in_total_and_each(url):
    async def scenario():
        answer = await ask(url, "/form", "POST", body=b"x" * 300_001)
        assert (answer.status, b"gateway.max_body_bytes" in answer.body) == (413, True)
        held = []
        for _ in range(4):
            connection = await RawHTTP.connect(url)
            connection.request("/form", "POST", ["Content-Length: 250001"])
            connection.send(b"x" * 249_900)
            held.append(connection)
        token = json.loads((await ask(url, "/socket/longpoll?vsn=2.0.0")).body)["token"]
        for target, headers in (
            ("/form", ()),
            (f"/socket/longpoll?vsn=2.0.0&token={token}", ()),
            ("/api/broadcast", (f"Authorization: Bearer {KEY}",)),
        ):

            async def refused(target=target, headers=headers):
                return await ask(url, target, "POST", headers, b"x" * 1_000)

            answer = await until_status(refused, 503)
            assert answer.headers["retry-after"] == "1"
            assert b"gateway.max_bodies_bytes" in answer.body
        for connection in held:
            connection.send(b"x" * 101)
            assert (await connection.answer()).status in (200, 503)
            connection.close()
        assert (
            await until_status(lambda: ask(url, "/form", "POST", body=b"x" * 300_000), 200)
        ).status == 200

    run(scenario())


async def until_status(make, status):
    for _ in range(300):
        answer = await make()
        if answer.status == status:
            return answer
        await asyncio.sleep(0.05)
    raise AssertionError(answer)


def test_chunked_bodies_are_bounded_however_they_are_split(url):
    async def scenario():
        for chunk in (b"1\r\nx\r\n", b"7530\r\n" + b"x" * 30_000 + b"\r\n"):
            connection = await RawHTTP.connect(url)
            connection.request("/form", "POST", ["Transfer-Encoding: chunked"])
            for _ in range(11):
                connection.send(chunk * (1 if len(chunk) > 100 else 28_000))
            assert (await connection.answer()).status in (413, 408)
            connection.close()
        for wrong in (b"zz\r\n", b"-1\r\nx\r\n", b"1;" + b"e" * 10_000 + b"\r\nx\r\n", b"1\r\nxyz\r\n"):
            for target in ("/form", "/socket/longpoll"):
                connection = await RawHTTP.connect(url)
                connection.request(target, "POST", ["Transfer-Encoding: chunked"])
                connection.send(wrong)
                assert (await connection.answer()).status == 400
                assert await connection.ended()
                connection.close()
        assert (await ask(url, "/healthz")).status == 200

    run(scenario())


def test_extensions_and_trailers_of_chunks_are_ignored(url):
    chunks = b'3;a=b\r\na=1\r\n2 ; c="d"\r\n&b\r\n0;last\r\nX-Sum: 1\r\nY: 2\r\n\r\n'
    form = "Content-Type: application/x-www-form-urlencoded"

    async def scenario():
        for pieces in (1, 7, len(chunks)):
            connection = await RawHTTP.connect(url)
            connection.request("/form", "POST", ["Transfer-Encoding: chunked", form])
            for start in range(0, len(chunks), len(chunks) // pieces):
                connection.send(chunks[start : start + len(chunks) // pieces])
                await asyncio.sleep(0)
            connection.request("/healthz")
            answer = await connection.answer()
            assert json.loads(answer.body) == {"bytes": 5, "fields": ["a", "b"]}
            assert (await connection.answer()).status == 200, "what came behind it"
            connection.close()

    run(scenario())


def test_forms_are_parsed_for_handlers_of_the_application_only(url):
    form = ("Content-Type: application/x-www-form-urlencoded",)

    async def scenario():
        answer = await ask(url, "/form", "POST", form, b"a=1&b=2")
        assert json.loads(answer.body)["fields"] == ["a", "b"]
        multipart = ("Content-Type: multipart/form-data; boundary=x",)
        for target in ("/form", "/socket/longpoll?vsn=2.0.0"):
            answer = await ask(url, target, "POST", multipart, b"not multipart at all")
            assert answer.status in (200, 400)
        token = json.loads((await ask(url, "/socket/longpoll?vsn=2.0.0")).body)["token"]
        many = b"&".join(b"a%d=1" % n for n in range(20_000))
        answer = await ask(url, f"/socket/longpoll?vsn=2.0.0&token={token}", "POST", form, many)
        assert answer.body == b'{"status":408}', "a message that cannot be decoded"

    run(scenario())
