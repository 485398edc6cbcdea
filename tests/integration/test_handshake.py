"""What a mount's options let `connect` know, and whom they refuse."""

import base64
import hashlib
import json

import pytest
from itsdangerous import TimestampSigner, URLSafeTimedSerializer

from tests.support.http import request
from tests.support.longpoll import http
from tests.support.mounts_app import SECRET
from tests.support.processes import serve
from tests.support.websocket import PhoenixClient, RawWebSocket, Refused, run

BEARER = "base64url.bearer.phx."


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), "tests.support.mounts_app:endpoint") as (_, url):
        yield url


def bearer(token):
    return BEARER + base64.b64encode(token.encode()).decode().rstrip("=")


async def told(base, path, query="", headers=None, offer=()):
    """(what connect was told, the sub-protocol answered)."""
    url = f"{base}{path}/websocket?vsn=2.0.0{query}"
    socket = await RawWebSocket.connect(url, headers, offer=offer)
    client = PhoenixClient(socket)
    assert (await client.join("info:1"))[0] == "ok"
    return (await client.push("info:1", "me"))[1], socket.headers.get("sec-websocket-protocol")


async def refused(base, path, query="", headers=None, offer=()):
    with pytest.raises(Refused) as caught:
        await RawWebSocket.connect(f"{base}{path}/websocket?vsn=2.0.0{query}", headers, offer=offer)
    assert caught.value.body == b""
    return caught.value.status


def test_connect_info(base):
    async def scenario():
        headers = {
            "User-Agent": "test/1",
            "X-Forwarded-For": "1.2.3.4",
            "X-Custom": "ü".encode().decode("latin-1"),
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "tracestate": "a=1",
            "Cookie": "session=secret",
            "Authorization": "secret",
        }
        info, protocol = await told(base, "/any", "&a=1", headers)
        assert protocol is None
        assert info["transport"] == "websocket"
        assert info["peer"][0] == "127.0.0.1"
        assert info["peer"][1] > 0
        assert info["uri"] == f"{base}/any/websocket?vsn=2.0.0&a=1"
        assert info["user_agent"] == "test/1"
        assert sorted(info["x_headers"]) == ["x-custom", "x-forwarded-for"]
        assert info["trace_context"] == {"traceparent": headers["traceparent"], "tracestate": "a=1"}
        assert sorted(info["sec_websocket_headers"]) == ["sec-websocket-key", "sec-websocket-version"]
        assert info["extra"] == {"region": "eu"}
        assert (info["auth_token"], info["session"]) == (None, None)
        assert "secret" not in json.dumps(info), "neither cookies nor other headers"

    run(scenario())


def test_connect_info_over_long_poll(base):
    async def scenario():
        answer = await http(base, "GET", "/auth/longpoll?vsn=2.0.0", {"X-Phoenix-AuthToken": "t0ken/"})
        token = answer.json["token"]
        lines = [
            json.dumps(["1", "1", "info:1", "phx_join", {}]),
            json.dumps(["1", "2", "info:1", "me", {}]),
        ]
        headers = {"Content-Type": "application/x-ndjson"}
        path = f"/auth/longpoll?vsn=2.0.0&token={token}"
        await http(base, "POST", path, headers, "\n".join(lines).encode())
        got = []
        while len(got) < 2:
            got += (await http(base, "GET", path)).json["messages"]
        info = json.loads(got[1])[4]["response"]
        assert (info["transport"], info["auth_token"]) == ("longpoll", "t0ken/")
        other = await http(base, "POST", path.replace("/auth/", "/any/"), headers, b"")
        assert other.json == {"status": 410}, "a token is for its mount"

    run(scenario())


@pytest.mark.parametrize("token", ["t0ken", "with/slash?and+plus", "ünïcode", "a", ""])
def test_the_auth_token_of_phoenix_js_and_the_answer_phoenix(base, token):
    async def scenario():
        info, protocol = await told(base, "/auth", offer=["phoenix", bearer(token)])
        assert (info["auth_token"], protocol) == (token, "phoenix")
        url_safe = bearer(token).replace("+", "-").replace("/", "_")
        info, _ = await told(base, "/auth", offer=["phoenix", url_safe])
        assert info["auth_token"] == token, "either alphabet of base64"

    run(scenario())


def test_auth_tokens_that_are_none(base):
    async def scenario():
        for offer, protocol in ((["phoenix"], "phoenix"), ([], None)):
            info, answered = await told(base, "/auth", offer=offer)
            assert (info["auth_token"], answered) == (None, protocol)
        info, answered = await told(base, "/auth", offer=[bearer("alone")])
        assert (info["auth_token"], answered) == ("alone", None)
        info, answered = await told(base, "/auth", offer=["phoenix", bearer("a"), bearer("b")])
        assert (info["auth_token"], answered) == (None, "phoenix")
        assert await refused(base, "/auth", offer=["phoenix", BEARER + "!"]) == 500
        assert await refused(base, "/auth", offer=["other"]) == 403
        info, answered = await told(base, "/any", offer=["phoenix", bearer("a")])
        assert (info["auth_token"], answered) == (None, None), "not asked for: ignored, none answered"

    run(scenario())


def test_sub_protocols(base):
    async def scenario():
        assert (await told(base, "/sub"))[1] is None
        assert (await told(base, "/sub", offer=["x", "chat.v1", "chat.v2"]))[1] == "chat.v2"
        assert (await told(base, "/sub", offer=["chat.v1"]))[1] == "chat.v1"
        assert await refused(base, "/sub", offer=["chat.v3"]) == 403

    run(scenario())


def test_a_token_signed_here_authenticates(base):
    async def scenario():
        token = request(f"{base}/get_token?user=ana")[1]
        url = f"{base}/token/websocket?vsn=2.0.0"
        client = PhoenixClient(await RawWebSocket.connect(url, offer=["phoenix", bearer(token)]))
        await client.join("info:1")
        assert (await client.push("info:1", "me"))[1] == {"user": "ana"}
        for wrong in ("", token[:-1], "x.y.z"):
            assert await refused(base, "/token", offer=["phoenix", bearer(wrong)]) == 403
        assert await refused(base, "/token") == 403

    run(scenario())


def starlette(session, secret=SECRET):
    return TimestampSigner(secret).sign(base64.b64encode(json.dumps(session).encode())).decode()


def flask(session, secret=SECRET):
    keys = {"key_derivation": "hmac", "digest_method": hashlib.sha1}
    return URLSafeTimedSerializer(secret, salt="cookie-session", signer_kwargs=keys).dumps(session)


@pytest.mark.parametrize(
    ("path", "sign", "key"), [("/starlette", starlette, "_csrf_token"), ("/flask", flask, "csrf_token")]
)
def test_a_session_is_read_with_its_csrf_token_only(base, path, sign, key):
    async def scenario():
        session = {"user": 7, key: "right"}

        async def seen(cookie, query="&_csrf_token=right"):
            headers = {"Cookie": f"other=1; session={cookie}"} if cookie else None
            return (await told(base, path, query, headers))[0]["session"]

        assert await seen(sign(session)) == session
        assert await seen(sign(session), "") is None
        assert await seen(sign(session), "&_csrf_token=wrong") is None
        assert await seen(sign(session), "&_csrf_token[a]=right") is None
        assert await seen(sign({"user": 7})) is None
        assert await seen(sign(session, "another secret of somebody")) is None
        assert await seen("garbage") is None
        assert await seen(None) is None

    run(scenario())


@pytest.mark.parametrize("other", ["[1]", "7", "true", "null", "{", '\\"text\\"'])
@pytest.mark.parametrize("way", ["websocket", "websocket by Tornado", "longpoll"])
def test_a_cookie_that_decodes_to_anything_else_is_skipped(base, way, other):
    own = '{"user":7,"_csrf_token":"right"}'

    async def scenario():
        if way == "longpoll":
            headers = {"Cookie": f"session={other}; session={own}"}
            answer = await http(base, "GET", "/json/longpoll?vsn=2.0.0&_csrf_token=right", headers)
            assert (answer.status, answer.json["status"]) == (200, 410)
            return
        headers = {"Cookie": f"session={other}; session={own}"}
        if way == "websocket by Tornado":
            headers["Content-Length"] = "0"
        info, _ = await told(base, "/json", "&_csrf_token=right", headers)
        assert info["session"] == {"user": 7, "_csrf_token": "right"}

    run(scenario())


def test_each_transport_is_served_only_where_it_was_mounted(base):
    async def scenario():
        assert (await http(base, "GET", "/sub/longpoll?vsn=2.0.0")).status == 404
        assert (await http(base, "GET", "/open/websocket?vsn=2.0.0")).status == 404
        answer = await http(base, "GET", "/open/longpoll?vsn=2.0.0", {"Origin": "http://elsewhere.example"})
        assert answer.json["status"] == 410

    run(scenario())
