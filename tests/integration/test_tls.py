"""A gateway that speaks TLS itself."""

import asyncio
import json
import os
import ssl
import subprocess
import sys
import urllib.request

import pytest

from mesh.client import Client
from tests.support.processes import ROOT, node
from tests.support.relay import certificate
from tests.support.until import PATIENCE


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """(address as host:port, a context that trusts it)."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = certificate(directory)
    env = {
        "MESH_GATEWAY__TLS_CERTIFICATE": str(cert),
        "MESH_GATEWAY__TLS_KEY": str(key),
        "MESH_GATEWAY__URL_HOST": "127.0.0.1",
        "MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "5",
    }
    with node(directory, "serve", "examples.conformance:endpoint", "--port", "0", env=env) as process:
        at = process.wait_for(r"https://([^\s/]+:\d+)")[1]
        yield at, ssl.create_default_context(cafile=str(cert))


def run(scenario):
    async def main():
        async with asyncio.timeout(PATIENCE):
            await scenario()

    asyncio.run(main())


def test_channels_over_wss(secure):
    at, trust = secure

    async def scenario():
        async with (
            Client(f"wss://{at}/socket", ssl=trust) as one,
            Client(f"wss://{at}/socket", ssl=trust) as two,
        ):
            room, other = await one.join("room:tls"), await two.join("room:tls")
            assert await room.push("echo", {"a": 1}) == {"a": 1}
            large = {"body": "x" * 500_000}  # more than a TLS record, and than the kernel takes at once
            for _ in range(5):
                await room.cast("new_msg", large)
            for _ in range(5):
                assert await anext(other) == ("new_msg", large)
            assert await room.push("bin", b"\x00\xff") == b"\x00\xff"

    run(scenario)


def test_a_burst_of_small_messages_in_one_record_is_read_to_its_end(secure):
    at, trust = secure

    async def scenario():
        async with Client(f"wss://{at}/socket", ssl=trust, timeout_seconds=PATIENCE) as client:
            room = await client.join("room:burst")
            replies = await asyncio.gather(*(room.push("echo", {"n": n}) for n in range(2_000)))
            assert [reply["n"] for reply in replies] == list(range(2_000))

    run(scenario)


def test_long_poll_over_https(secure):
    at, trust = secure
    url = f"https://{at}/socket/longpoll?vsn=2.0.0"
    with urllib.request.urlopen(url, context=trust, timeout=PATIENCE) as answer:
        assert json.load(answer)["status"] == 410


def test_who_does_not_speak_tls_disturbs_nobody(secure):
    at, trust = secure
    host, port = at.split(":")

    async def scenario():
        async with Client(f"wss://{at}/socket", ssl=trust) as client:
            room = await client.join("room:garbage")
            for garbage in (
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                os.urandom(3_000),
                b"\x16\x03\x01\xff\xff",
                b"",
            ):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(garbage)
                assert await room.push("echo", {"n": 1}) == {"n": 1}
                try:
                    await reader.read()  # until it is hung up: a handshake has its time
                except ConnectionError:
                    pass
                writer.close()

    run(scenario)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"MESH_GATEWAY__TLS_CERTIFICATE": "missing.pem"}, "cannot use 'missing.pem'"),
        ({"MESH_GATEWAY__TLS_KEY": "key.pem"}, "without MESH_GATEWAY__TLS_CERTIFICATE"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_said(env, said):
    done = subprocess.run(
        [sys.executable, "-m", "mesh", "serve", "examples.conformance:endpoint", "--port", "0"],
        cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 2
    assert said in done.stderr
