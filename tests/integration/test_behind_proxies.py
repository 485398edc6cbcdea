"""A gateway behind proxies: nginx that terminates TLS, the PROXY protocol; and on IPv6."""

import asyncio
import json
import shutil
import socket
import ssl
import subprocess
import urllib.request

import pytest

from mesh.client import Client
from mesh.nodes.cluster.readiness import _query
from tests.support.longpoll import http
from tests.support.processes import node, serve
from tests.support.relay import certificate
from tests.support.until import PATIENCE, until_sync
from tests.support.websocket import (
    HANDSHAKE,
    PhoenixClient,
    RawWebSocket,
    Refused,
    open_connection,
    run,
)
from tests.unit.gateway.http.test_proxy_protocol import version_2

APP = "tests.support.mounts_app:endpoint"
BEHIND_NGINX = {"MESH_GATEWAY__TRUSTED_PROXIES": "127.0.0.1,::1"}
NGINX = """
daemon off; pid {directory}/pid; error_log stderr; worker_processes 1;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  server {{
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {cert}; ssl_certificate_key {key};
    location / {{
      proxy_pass {url};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
    }}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return certificate(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def behind_nginx(tmp_path_factory, keys):
    """(address of nginx, its trusting context, the gateway's own URL)."""
    directory = tmp_path_factory.mktemp("nginx")
    cert, key = keys
    with serve(tmp_path_factory.mktemp("serve"), APP, env=BEHIND_NGINX) as (_, url):
        port = free_port()
        (directory / "conf").write_text(
            NGINX.format(directory=directory, port=port, cert=cert, key=key, url=url)
        )
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        nginx = subprocess.Popen([binary, "-p", str(directory), "-c", str(directory / "conf")])
        try:
            until_sync(lambda: nginx.poll() is not None or answers(port))
            assert nginx.poll() is None
            yield f"127.0.0.1:{port}", ssl.create_default_context(cafile=str(cert)), url
        finally:
            nginx.terminate()
            nginx.wait(PATIENCE)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except OSError:
        return False
    return True


async def told(base, path, headers=None):
    client = PhoenixClient(await RawWebSocket.connect(f"{base}{path}/websocket?vsn=2.0.0", headers))
    await client.join("info:1")
    return (await client.push("info:1", "me"))[1]


def test_behind_nginx_the_own_page_may_connect_and_no_other(behind_nginx):
    at, trust, _ = behind_nginx

    async def scenario():
        host, port = at.split(":")
        for origin, status in (
            (f"https://{at}", 101),
            (f"http://{at}", 403),
            ("https://evil.example", 403),
        ):
            reader, writer = await open_connection(host, int(port), ssl=trust)
            lines = {"Host": at, "Origin": origin, **HANDSHAKE}
            head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
            writer.write(f"GET /conn/websocket?vsn=2.0.0 HTTP/1.1\r\n{head}\r\n".encode())
            async with asyncio.timeout(PATIENCE):
                answer = await reader.readuntil(b"\r\n\r\n")
            assert int(answer.split()[1]) == status

    run(scenario())


def test_behind_nginx_long_poll_is_let_in_by_the_same_rule(behind_nginx):
    at, trust, _ = behind_nginx
    for origin, status in ((f"https://{at}", 410), (f"http://{at}", 403)):
        request = urllib.request.Request(
            f"https://{at}/conn/longpoll?vsn=2.0.0", headers={"Origin": origin}
        )
        with urllib.request.urlopen(request, context=trust, timeout=PATIENCE) as answer:
            assert json.load(answer)["status"] == status


def test_behind_nginx_connect_is_told_the_clients_address_and_uri(behind_nginx):
    at, trust, url = behind_nginx

    async def scenario():
        async with Client(f"wss://{at}/any", ssl=trust) as client:
            info = await (await client.join("info:1")).push("me")
            assert (info["uri"].partition("?")[0], info["peer"]) == (
                f"https://{at}/any/websocket",
                ["127.0.0.1", 0],
            )
        forwarded = {"Forwarded": 'for="[2001:db8::7]:99";proto=https;host=example.com'}
        for way in ({}, {"Content-Length": "0"}):  # read by us; by Tornado
            info = await told(url, "/any", forwarded | way)
            assert info["peer"] == ["2001:db8::7", 99]
            assert info["uri"].startswith("https://example.com/any/")
            info = await told(url, "/conn", {"Origin": "https://example.com", **forwarded, **way})
            assert info["transport"] == "websocket"

    run(scenario())


def test_nobody_else_is_believed_and_the_log_says_what_to_set(tmp_path):
    with serve(tmp_path, APP) as (process, url):

        async def scenario():
            headers = {"Origin": "https://example.com", "Host": "example.com", "X-Forwarded-Proto": "https"}
            for way in ({}, {"Content-Length": "0"}):
                with pytest.raises(Refused) as caught:
                    await told(url, "/conn", headers | way)
                assert caught.value.status == 403
            info = await told(url, "/any", {"X-Forwarded-For": "1.2.3.4"})
            assert info["peer"][0] == "127.0.0.1"
            assert info["uri"].startswith(f"{url}/any/")
            with pytest.raises(Refused):
                await told(url, "/any", {"Origin": "https://example.com"})

        run(scenario())
        for said in ("http://example.com:80", "x-forwarded-proto of 127.0.0.1 ignored", "gateway.trusted_proxies",
                     "gateway.url_host", "host localhost"):  # fmt: skip
            process.wait_for(said)


PROXIED = {"MESH_GATEWAY__PROXY_PROTOCOL": "required", "MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "5"}
V1 = b"PROXY TCP4 192.0.2.7 127.0.0.1 5555 80\r\n"
HEADERS = {
    "version 1": (V1, ["192.0.2.7", 5555]),
    "version 2": (version_2("2001:db8::7", extra=b"\x04\0\x05abcde"), ["2001:db8::7", 1234]),
    "unknown": (b"PROXY UNKNOWN\r\n", None),
}


def upgrade(host, path="/any/websocket?vsn=2.0.0", more=""):
    head = "".join(f"{name}: {value}\r\n" for name, value in HANDSHAKE.items())
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{head}{more}\r\n".encode()


async def info_of(reader, writer):
    async with asyncio.timeout(PATIENCE):
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    client = PhoenixClient(RawWebSocket(reader, writer))
    await client.join("info:1")
    return (await client.push("info:1", "me"))[1]


@pytest.fixture(scope="module")
def proxied(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), APP, env=PROXIED) as (process, _):
        url = process.wait_for(r"open\s+(http://\S+)")[1]
        yield process, int(url.rpartition(":")[2])


@pytest.mark.parametrize("name", HEADERS)
def test_a_proxy_header_names_the_client(proxied, name):
    header, peer = HEADERS[name]

    async def one(way, cut):
        reader, writer = await open_connection("127.0.0.1", proxied[1])
        sent = header + upgrade("localhost", more=way)
        own = list(writer.get_extra_info("sockname"))
        if cut:
            writer.write(sent[:cut])
            await writer.drain()
            await told_nothing(reader)
        writer.write(sent[cut:])
        assert (await info_of(reader, writer))["peer"] == (peer or own)

    async def scenario():
        ways = ("", "Content-Length: 0\r\n")
        await asyncio.gather(*(one(way, cut) for way in ways for cut in (0, 1, 7, 20)))

    run(scenario())


async def told_nothing(reader):
    """For long enough that the first part is read on its own."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)


def test_requests_follow_each_other_behind_one_proxy_header(proxied):
    async def scenario():
        reader, writer = await open_connection("127.0.0.1", proxied[1])
        writer.write(V1)
        for _ in range(2):
            writer.write(b"GET /any/longpoll?vsn=2.0.0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                assert b" 200 " in await reader.readuntil(b"\r\n\r\n")
                assert json.loads(await reader.readuntil(b"}"))["status"] == 410
        writer.write(upgrade("localhost"))
        assert (await info_of(reader, writer))["peer"] == ["192.0.2.7", 5555]

    run(scenario())


def test_without_a_proxy_header_the_connection_is_closed(proxied):
    process, port = proxied

    async def send(garbage):
        reader, writer = await open_connection("127.0.0.1", port)
        writer.write(garbage)
        async with asyncio.timeout(PATIENCE):  # what is only a part has its time
            try:
                assert await reader.read() == b""
            except ConnectionError:
                pass
        writer.close()

    async def scenario():
        garbage = upgrade("localhost"), b"\x16\x03\x01", b"PROXY TCP4 x\r\n", b"PROXY ", b"", V1[:-1]
        await asyncio.gather(*(send(each) for each in garbage))

    run(scenario())
    process.wait_for("it needs a PROXY header from a trusted proxy")


def test_the_proxy_protocol_comes_before_tls_and_from_trusted_proxies_only(tmp_path, keys):
    cert, key = keys
    env = {
        **PROXIED,
        "MESH_GATEWAY__TLS_CERTIFICATE": str(cert),
        "MESH_GATEWAY__TLS_KEY": str(key),
        "MESH_GATEWAY__HOST": "::",
        "MESH_GATEWAY__TRUSTED_PROXIES": "127.0.0.1",
    }
    with node(tmp_path, "serve", APP, "--port", "0", env=env) as process:
        port = int(process.wait_for(r"https://\[::\]:(\d+)")[1])
        trust = ssl.create_default_context(cafile=str(cert))

        async def scenario():
            reader, writer = await open_connection("127.0.0.1", port)
            writer.write(V1)
            await writer.start_tls(trust, server_hostname="127.0.0.1")
            writer.write(upgrade("localhost"))
            info = await info_of(reader, writer)
            assert (info["peer"], info["uri"][:8]) == (["192.0.2.7", 5555], "https://")
            reader, writer = await open_connection("::1", port)
            writer.write(V1)
            async with asyncio.timeout(PATIENCE):
                try:
                    assert await reader.read() == b"", "::1 is not trusted"
                except ConnectionError:
                    pass

        run(scenario())
        process.wait_for("not in gateway.trusted_proxies")


def test_a_gateway_on_ipv6_takes_ipv4_too(tmp_path):
    with node(tmp_path, "serve", APP, "--host", "::", "--port", "0") as process:
        port = int(process.wait_for(r"http://\[::\]:(\d+)")[1])

        async def scenario():
            for host, peer in (("[::1]", "::1"), ("127.0.0.1", "127.0.0.1")):
                info = await told(f"http://{host}:{port}", "/conn", {"Origin": f"http://{host}:{port}"})
                assert (info["peer"][0], info["uri"].split("/")[2]) == (peer, f"{host}:{port}")
                async with Client(f"ws://{host}:{port}/any") as client:
                    assert (await (await client.join("info:1")).push("me"))["peer"][0] == peer
                assert (await http(f"http://{host}:{port}", "GET", "/any/longpoll?vsn=2.0.0")).json[
                    "status"
                ] == 410

        run(scenario())
        assert _query(f"http://[::1]:{port}").problem is None, "as `mesh wait --gateway` asks"


def test_several_hosts_are_one_port(tmp_path):
    hosts = ("--host", "127.0.0.1", "--host", "::1")
    with node(tmp_path, "serve", APP, *hosts, "--port", "0") as process:
        port = process.wait_for(r"http://127\.0\.0\.1:(\d+)")[1]
        process.wait_for(rf"http://\[::1\]:{port}")
        for host in ("127.0.0.1", "[::1]"):
            until_sync(lambda host=host: _query(f"http://{host}:{port}").problem is None)
