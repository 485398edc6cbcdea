"""The gateway's HTTP side over real sockets: targets, limits, time-outs, bodies, static files."""

import asyncio
import json
import os

import pytest

from tests.support.processes import serve
from tests.support.raw_http import RawHTTP, ask, say
from tests.support.websocket import PhoenixClient, RawWebSocket, run

APP = "tests.support.http_app:endpoint"
KEY = "a-key-of-20-letters-or-so"
UPGRADE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A static directory with all that may and may not be served."""
    root = tmp_path_factory.mktemp("static")
    (root / "index.html").write_text("home")
    (root / "app.js").write_text("script")
    (root / "two words.txt").write_text("words")
    (root / "é.txt").write_text("accent")
    (root / "sub").mkdir()
    (root / "sub" / "index.html").write_text("sub")
    (root / "sub" / ".hidden").write_text("secret")
    (root / ".env").write_text("secret")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("contact")
    (root / ".well-known" / ".env").write_text("secret")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "linked").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory, files):
    """(process, url)"""
    env = {
        "HTTP_APP_STATIC": str(files),
        "MESH_API__KEYS": KEY,
        "MESH_API__MAX_BODY_BYTES": "100000",
        "MESH_GATEWAY__MAX_HEAD_BYTES": "4000",
        "MESH_GATEWAY__MAX_BODY_BYTES": "300000",
        "MESH_GATEWAY__MAX_BODIES_BYTES": "1000000",
    }
    with serve(tmp_path_factory.mktemp("serve"), APP, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def url(server):
    return server[1]


@pytest.fixture(scope="module")
def impatient_url(tmp_path_factory):
    """A server that waits 2 seconds for a request that has begun, and longer for one that has not."""
    env = {"MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "2", "MESH_GATEWAY__KEEPALIVE_SECONDS": "6"}
    with serve(tmp_path_factory.mktemp("serve"), APP, env=env) as (_, address):
        yield address


# Targets


@pytest.mark.parametrize(
    "path",
    [
        "/socket/websocket",
        "/socket/websocket/",
        "//socket/websocket",
        "/socket//websocket",
        "///socket///websocket///",
        "/s%6Fcket/websocket",
        "/s%6fcket/web%73ocket/",
        "/tenants/acme//socket/websocket/",
        "http://localhost/socket/websocket",
        "HTTP://localhost:4000//socket/websocket/",
    ],
)
def test_a_socket_is_found_by_its_segments(url, path):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request(f"{path}?vsn=2.0.0", headers=UPGRADE)
        assert (await connection.answer()).status == 101
        connection.close()

    run(scenario())


@pytest.mark.parametrize(
    ("path", "tenant"),
    [("a%2Fb", "a/b"), ("a%20b", "a b"), ("%C3%A9", "é"), ("a%2525", "a%25"), ("é", "é")],
)
def test_a_variable_of_a_path_is_decoded_once(url, path, tenant):
    async def scenario():
        raw = path.encode().decode("latin-1")
        for transport in ("websocket", "longpoll"):
            target = f"/tenants//{raw}/socket/{transport}/?vsn=2.0.0"
            connection = await RawHTTP.connect(url)
            connection.request(target, headers=UPGRADE if transport == "websocket" else ())
            answer = await connection.answer()
            assert answer.status == (101 if transport == "websocket" else 200)
            status, _, _ = await post_api(url, "disconnect", {"socket_id": f"user:{tenant}"})
            assert status == 200
            if transport == "websocket":  # its id was found
                assert await connection.ended()
            connection.close()

    run(scenario())


async def post_api(url, action, body, path="/api"):
    data = json.dumps(body).encode()
    return await ask(url, f"{path}/{action}", "POST", [f"Authorization: Bearer {KEY}"], data)


@pytest.mark.parametrize("path", ["/api", "//api/", "/%61pi"])
def test_the_api_is_found_by_its_segments(url, path):
    message = {"topic": "room:1", "event": "a", "payload": {}}
    assert run(post_api(url, "broadcast", message, path)).status == 200


def test_longpoll_health_and_static_are_found_by_their_segments(url):
    async def scenario():
        assert (await ask(url, "//socket//longpoll/?vsn=2.0.0")).body.startswith(b'{"status":410,"token"')
        assert (await ask(url, "/healthz/")).status == 200
        assert (await ask(url, "//assets//app.js/")).body == b"script"
        assert (await ask(url, "/%61pp%2Ejs")).body == b"script"

    run(scenario())


def test_handlers_of_the_application_see_the_path_as_it_was_sent(url):
    async def scenario():
        assert (await ask(url, "/own/?a=%20")).body == b"/own/?a=%20"
        assert (await ask(url, "/own")).status == 404
        assert (await ask(url, "http://localhost/own/")).body == b"/own/"

    run(scenario())


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("OPTIONS * HTTP/1.1", 204),
        ("GET * HTTP/1.1", 400),
        ("CONNECT localhost:443 HTTP/1.1", 501),
        ("CONNECT /socket/websocket HTTP/1.1", 501),
        ("TRACE / HTTP/1.1", 405),
        ("BREW / HTTP/1.1", 405),
        ("GET localhost:80 HTTP/1.1", 400),
        ("GET http:/// HTTP/1.1", 400),
        ("GET http://user@localhost/ HTTP/1.1", 400),
        ("GET ftp://localhost/ HTTP/1.1", 400),
        ("GET http://localhost?a=1 HTTP/1.1", 200),
        ("GET /%zz HTTP/1.1", 400),
        ("GET /% HTTP/1.1", 400),
        ("GET /%C3%28 HTTP/1.1", 404),
        ("GET /?a=%zz HTTP/1.1", 200),
        ("GET /healthz HTTP/1.7", 200),
        ("GET / HTTP/2.0", 505),
        ("GET / HTTP/0.9", 505),
        ("GET /", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET / http/1.1", 400),
        ("G\x01T / HTTP/1.1", 400),
        ("", 400),
    ],
)
def test_a_request_line_is_answered(url, request_line, status):
    async def scenario():
        answer = await say(url, f"{request_line}\r\nHost: localhost\r\n\r\n".encode("latin-1"))
        assert answer.status == status
        assert b"Traceback" not in answer.body

    if request_line:
        run(scenario())
    else:  # empty lines before a request do not count
        assert run(say(url, b"\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    "data", [b"GET /\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00"]
)
def test_what_is_no_http_1_is_answered_without_waiting_for_more(url, data):
    assert run(say(url, data)).status in (400, 505)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ("Host: a\r\nHost: b", 400),
        ("Host: a\r\nhost: a", 400),
        ("X: 1", 400),
        ("Host: a b", 400),
        ("Host: [::1", 400),
        ("Host: [:::]:80", 400),
        ("Host: a:b", 400),
        ("Host: [::1]:80", 200),
        ("Host:", 200),
        ("Host: a\r\n folded: 1", 400),
        ("Host: a\r\nno colon", 400),
        ("Host: a\r\nContent-Length: +1", 400),
        ("Host: a\r\nContent-Length: -1", 400),
        ("Host: a\r\nContent-Length: 1\r\nContent-Length: 2", 400),
        ("Host: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked", 400),
        ("Host: a\r\nTransfer-Encoding: gzip", 400),
        ("Host: a\r\nRange: bytes=abc", 200),
        ("Host: a\r\nRange: bytes=99999999999999999999999-", 416),
        ("Host: a\r\nRange: bytes=1-0", 416),
        ("Host: a\r\nIf-Modified-Since: yesterday", 200),
        ("Host: a\r\nIf-Modified-Since: Mon, 01 Jan 99999 00:00:00 GMT", 200),
        ("Host: a\r\nIf-None-Match: \xff", 200),
        ("Host: a\r\nAccept-Encoding: " + "a," * 500, 200),
        ("Host: a\r\nCookie: a=\xff; ;;=", 200),
        ("Host: a\r\n" + "A: b\r\n" * 190 + "A: b", 200),
        ("Host: a\r\n" + "A: b\r\n" * 300 + "A: b", 431),
    ],
)
def test_odd_headers_never_give_500(url, headers, status):
    method = "POST" if "Content-Length" in headers or "Transfer" in headers else "GET"
    target = "/form" if method == "POST" else "/"
    answer = run(say(url, f"{method} {target} HTTP/1.1\r\n{headers}\r\n\r\nx".encode("latin-1")))
    assert answer.status == status


def test_the_host_of_an_absolute_target_counts(tmp_path):
    env = {"MESH_GATEWAY__URL_HOST": "example.org"}
    with serve(tmp_path, "tests.support.conn_origin_app:endpoint", env=env) as (_, url):

        async def scenario():
            origin = ("Origin: http://example.org", *UPGRADE)
            for host, status in (("example.org", 101), ("other.example", 403)):
                connection = await RawHTTP.connect(url)
                connection.request(f"http://{host}/socket/websocket?vsn=2.0.0", "GET", origin, host="x")
                assert (await connection.answer()).status == status
                connection.close()

        run(scenario())


# Limits


def test_a_head_over_the_limit_is_answered(url):
    async def scenario():
        answer = await ask(url, "/?" + "a" * 5_000)
        assert (answer.status, b"gateway.max_head_bytes" in answer.body) == (414, True)
        answer = await ask(url, headers=["X: " + "a" * 5_000])
        assert (answer.status, b"gateway.max_head_bytes" in answer.body) == (431, True)
        assert answer.headers["connection"] == "close"
        answer = await ask(url, headers=["X: " + "a" * 5_000_000])
        assert answer.status == 431, "what follows is dropped, and does not destroy the answer"
        answer = await ask(url, "/socket/websocket?vsn=2.0.0", headers=[*UPGRADE, "X: " + "a" * 5_000])
        assert answer.status == 431
        assert (await ask(url, "/?" + "a" * 3_900)).status == 200

    run(scenario())


# Time-outs


def test_an_idle_connection_is_kept_for_longer_than_a_request_may_take(impatient_url):
    async def scenario():
        connection = await RawHTTP.connect(impatient_url)
        loop = asyncio.get_running_loop()
        for target in ("/healthz", "/socket/longpoll?vsn=2.0.0", "/healthz"):
            connection.request(target)
            assert (await connection.answer()).status == 200
            idle_since = loop.time()
            await asyncio.sleep(3)  # beyond handshake_timeout_seconds, within keepalive_seconds
        assert await connection.ended()
        assert loop.time() - idle_since >= 5.5
        connection.close()
        refused = await RawHTTP.connect(impatient_url)
        refused.request("/socket/websocket?vsn=9.0.0", headers=UPGRADE)  # answered by the short way
        assert (await refused.answer()).status == 403
        await asyncio.sleep(3)
        refused.request("/healthz")
        assert (await refused.answer()).status == 200
        refused.close()

    run(scenario())


@pytest.mark.parametrize(
    "begun",
    [
        b"G",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n",
        b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
        b"POST /form HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_a_request_that_does_not_go_on_is_answered_408(impatient_url, begun):
    async def scenario():
        for first in (b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"):
            connection = await RawHTTP.connect(impatient_url)
            connection.send(first + begun)
            if first:
                assert (await connection.answer()).status == 200
            answer = await connection.answer()
            assert (answer.status, b"handshake_timeout_seconds" in answer.body) == (408, True)
            assert await connection.ended()
            connection.close()

    run(scenario())


def test_a_request_that_trickles_in_is_answered_408(impatient_url):
    async def scenario():
        connection = await RawHTTP.connect(impatient_url)
        connection.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")

        async def trickle():
            while not connection.writer.is_closing():
                connection.send(b"a")
                await asyncio.sleep(0.1)

        trickling = asyncio.create_task(trickle())
        assert (await connection.answer()).status == 408
        trickling.cancel()
        connection.close()

    run(scenario())


@pytest.mark.parametrize(
    ("target", "method", "allowed"),
    [
        ("/healthz", "DELETE", "GET, HEAD"),
        ("/app.js", "PATCH", "GET, HEAD"),
        ("/form", "PUT", "POST"),
        ("/api/broadcast", "GET", "POST"),
        ("/nowhere", "BREW", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_answered_with_those_that_it_has(
    url, target, method, allowed
):
    answer = run(ask(url, target, method=method))
    assert (answer.status, answer.headers["allow"]) == (405, allowed)


# Bodies


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
def test_a_body_that_no_route_wants_is_not_read(url, target, method, status, expect):
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


def test_a_body_that_a_route_wants_is_asked_for(url):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request("/form", "POST", ["Content-Length: 5", "Expect: 100-continue"])
        assert (await connection.answer()).status == 100
        connection.send(b"hello")
        assert json.loads((await connection.answer()).body) == {"bytes": 5, "fields": []}
        connection.close()

    run(scenario())


def test_many_bodies_that_no_route_wants_cost_no_memory(server):
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


def rss(pid):
    with open(f"/proc/{pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_bodies_are_bounded_all_together_and_each(url):
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


def test_chunks_are_bounded_however_they_come(url):
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


@pytest.mark.parametrize("target", ["*", "http://u@x/", "/%zz", "/?" + "a" * 5_000])
def test_a_refused_head_request_is_answered_without_content(url, target):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.request(target, "HEAD")
        answer = await connection.answer("HEAD")
        assert answer.status in (400, 414)
        assert int(answer.headers["content-length"]) > 0
        assert await connection.reader.read() == b""
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


def test_requests_that_come_all_at_once_are_answered_in_turn(url):
    async def scenario():
        connection = await RawHTTP.connect(url)
        connection.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 300)
        for _ in range(300):
            assert (await connection.answer()).status == 200
        connection.close()

    run(scenario())


# Static files


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"home"),
        ("/app.js", b"script"),
        ("/assets/app.js", b"script"),
        ("/assets/", b"home"),
        ("/sub/", b"sub"),
        ("/two%20words.txt", b"words"),
        ("/%C3%A9.txt", b"accent"),
        ("/\xc3\xa9.txt", b"accent"),
        ("/.well-known/security.txt", b"contact"),
        ("/%2Ewell-known/security.txt", b"contact"),
    ],
)
def test_a_file_is_served(url, path, body):
    assert run(ask(url, path))[::2] == (200, body)


def test_a_directory_is_redirected_to_its_index(url):
    for path in ("/sub", "//sub", "//assets//sub", "/s%75b"):
        answer = run(ask(url, path))
        wanted = "/assets/sub/" if "assets" in path else "/sub/"
        assert (answer.status, answer.headers["location"]) == (301, wanted), path
        assert run(ask(url, path + "/")).body == b"sub"


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/app.js%00",
        "/%00/app.js",
        "/assets/%00",
        "/.env",
        "/%2Eenv",
        "/%2eenv/",
        "/.git/config",
        "/sub/.hidden",
        "/assets/.env",
        "/assets/.well-known/security.txt",
        "/.well-known/.env",
        "/..",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/sub/..%2f.env",
        "/sub%2findex.html",
        "/..%5c..%5cetc",
        "/sub\\index.html",
        "/%ff%fe",
        "/%C0%AE%C0%AE/etc",
        "/" + "a" * 256,
        "/" + "a/" * 1_500,
        "/" + "%C3%A9" * 128,
        "/link.txt",
        "/linked/secret.txt",
        "/linked/",
        "/linked",
        "/loop",
        "/pipe",
        "/app.js/x",
        "/nowhere",
    ],
)
def test_what_may_not_be_served_is_not_there(url, path):
    for method in ("GET", "HEAD"):
        answer = run(ask(url, path, method))
        assert answer.status == 404
        assert b"secret" not in answer.body


def test_nothing_of_all_this_was_an_error_of_ours(server):
    """Runs last in this file."""
    process, url = server
    assert run(ask(url, "/healthz")).status == 200

    async def scenario():
        client = PhoenixClient(await RawWebSocket.connect(f"{url}/socket/websocket?vsn=2.0.0"))
        assert (await client.join("room:1"))[0] == "ok"
        client.close()

    run(scenario())
    assert "Traceback" not in process.log()
