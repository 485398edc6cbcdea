"""mesh.client: connecting, refusals, TLS and CURVE, tokens and heartbeats."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl

import pytest
import zmq

from mesh.client import ChannelClosed, Client, ClientError, ConnectError, ConnectRefused, events
from mesh.errors import SettingsError
from tests.support import relay
from tests.support.processes import serve
from tests.support.until import until
from tests.support.websocket import run

QUICK = {"reconnect_seconds": (0.05,), "rejoin_seconds": (0.05,)}


@pytest.fixture
def silent():
    """The port of a server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("transport", ["websocket", "zeromq"])
def test_a_refused_connection_raises_connect_refused_with_its_status(server, transport):
    async def scenario():
        before = asyncio.all_tasks()
        with pytest.raises(ConnectRefused) as refused:
            async with Client(server[transport], params={"token": "bad"}):
                pass
        assert refused.value.status == 403
        elsewhere = server[transport].replace("/socket", "/other")
        with pytest.raises(ConnectRefused) as refused:
            async with Client(elsewhere, path="/other"):
                pass
        assert refused.value.status == 404
        assert asyncio.all_tasks() == before

    run(scenario())


@pytest.mark.parametrize(
    "address", ["ws://127.0.0.1:1/socket", "tcp://127.0.0.1:1", "ipc:///nowhere/at/all"]
)
def test_an_unreachable_server_raises_connect_error(address):
    async def scenario():
        before = asyncio.all_tasks()
        with pytest.raises(ConnectError, match="cannot be reached"):
            async with Client(address):
                pass
        assert asyncio.all_tasks() == before

    run(scenario())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"address": "http://localhost"}, "want ws://"),
        ({"address": "ws://:7"}, "no usable host"),
        ({"address": "tcp://localhost"}, "not a ZeroMQ address"),
        (
            {"address": "tcp://localhost:5560", "auth_token": "t"},
            "auth_token: not available over ZeroMQ",
        ),
        ({"server_key": "k" * 40}, "server_key: not available over WebSocket"),
        ({"address": "tcp://localhost:5560", "server_key": "short"}, "40 characters of Z85"),
        ({"address": "tcp://localhost:5560", "public_key": "k" * 40}, "without a server_key"),
        ({"address": "tcp://localhost:5560", "server_key": "k" * 40, "public_key": "k" * 40}, "are a pair"),
        ({"format": "xml"}, "want 'json' or 'msgpack'"),
        ({"timeout_seconds": 0}, "more than 0"),
        ({"rejoin_seconds": ()}, "one or more"),
    ],
)
def test_invalid_options_raise_settings_error_at_once(options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        Client(**options)


@pytest.mark.parametrize(
    "address",
    [
        "ws://127.0.0.1:1/socket?token=SECRET#SECRET",
        "ws://ana:SECRET@127.0.0.1:1/socket",
        "wss://SECRET@127.0.0.1:1/socket?a=1&apiKey=SECRET",
        "http://ana:SECRET@127.0.0.1/socket?token=SECRET",
        "ws://ana:SECRET@/socket?token=SECRET",
        "ws://ana:SECRET@localhost:x/socket?token=SECRET",
    ],
)
def test_no_error_or_line_shows_a_secret_of_the_address(address, caplog):
    async def scenario():
        async with Client(address, params={"token": "SECRET"}):
            pass

    caplog.set_level("DEBUG")
    with pytest.raises((ConnectError, SettingsError)) as caught:
        run(scenario())
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in caplog.text


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_a_cancelled_connect_leaves_no_task(scheme, silent):
    async def scenario():
        before = asyncio.all_tasks()
        entering = asyncio.ensure_future(Client(f"{scheme}://127.0.0.1:{silent}").__aenter__())
        await until(lambda: len(asyncio.all_tasks() - before) > 1)
        await asyncio.sleep(0.05)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await until(lambda: entering not in asyncio.all_tasks())
        ours = {each for each in asyncio.all_tasks() - before if "mesh" in each.get_name()}
        assert not ours

    run(scenario())


def test_a_server_that_does_not_answer_raises_connect_error_after_the_timeout(silent):
    async def scenario():
        for scheme in ("ws", "tcp"):
            with pytest.raises(ConnectError, match="does not answer"):
                async with Client(f"{scheme}://127.0.0.1:{silent}", connect_timeout_seconds=0.2):
                    pass

    run(scenario())


def test_params_may_be_async_functions_and_nested(server):
    async def scenario():
        async def params():
            await asyncio.sleep(0)
            return {"user_id": "ä&ö", "deep": {"a": [1, True]}}

        async with Client(server["websocket"] + "?extra=1", params=params) as client:
            channel = await client.join("presence:params")
            presence = channel.presence()
            await until(lambda: list(presence.state) == ["ä&ö"])
            assert "extra" not in client.address
        with pytest.raises(SettingsError, match="params are 7"):
            async with Client(server["websocket"], params=lambda: 7):
                pass

    run(scenario())


def test_a_client_cannot_be_opened_twice(address):
    async def scenario():
        client = Client(address)
        with pytest.raises(ChannelClosed, match="not open"):
            await client.join("room:1")
        async with client:
            pass
        with pytest.raises(ConnectError, match="used before"):
            async with client:
                pass
        with pytest.raises(ChannelClosed):
            await client.join("room:1")
        with contextlib.suppress(ClientError):
            await client.aclose()

    run(scenario())


def test_an_auth_token_is_sent_as_phoenix_js_sends_it(tmp_path):
    with serve(tmp_path, "tests.support.mounts_app:endpoint") as (_, url):
        tokens = iter(["t0ken/?", "second"])

        async def scenario():
            address = url.replace("http", "ws") + "/auth/websocket"
            headers = {"X-Device": "7"}
            async with Client(address, auth_token=lambda: next(tokens), headers=headers, **QUICK) as client:
                opened = []
                client.on_open(lambda: opened.append(1))
                info = await client.join("info:1")
                told = await info.push("me")
                assert (told["auth_token"], told["x_headers"]) == ("t0ken/?", {"x-device": "7"})
                # Private: nothing public loses a connection without ending the client or its server.
                client._driver._close_connection(1006, "")
                client._driver.handle(events.Closed("lost"))
                await until(lambda: opened)
                assert (await info.push("me"))["auth_token"] == "second"

        run(scenario())


def test_over_tls_the_certificate_is_checked(server, tmp_path):
    cert, key = relay.certificate(tmp_path)

    async def scenario():
        host, port = server["http"].removeprefix("http://").split(":")
        async with relay.tls(cert, key, host, int(port)) as encrypted:
            address = f"wss://127.0.0.1:{encrypted}/socket"
            with pytest.raises(ConnectError, match="certificate verify failed"):
                async with Client(address):
                    pass
            trusting = ssl.create_default_context(cafile=str(cert))
            async with Client(address, ssl=trusting) as client:
                room = await client.join("room:tls")
                assert await room.push("echo", {"a": 1}) == {"a": 1}

    run(scenario())


@pytest.mark.parametrize("own", [False, True], ids=["new pair", "own pair"])
def test_over_zeromq_the_server_key_is_checked(server, own):
    public, secret = [key.decode() for key in zmq.curve_keypair()]
    other, _ = [key.decode() for key in zmq.curve_keypair()]
    mine = [key.decode() for key in zmq.curve_keypair()]
    pair = {"public_key": mine[0], "secret_key": mine[1]} if own else {}

    async def scenario():
        async with relay.curve(secret.encode(), server["zeromq"]) as address:
            async with Client(address, server_key=public, **pair) as client:
                room = await client.join("room:curve")
                assert await room.push("bin", b"\x00") == b"\x00"
            for keys in ({"server_key": other}, {}):
                with pytest.raises(ConnectError):
                    async with Client(address, connect_timeout_seconds=1, **keys):
                        pass

    run(scenario())


async def unchanged_for(seconds, events):
    """A busy machine may break a connection: then the time is measured again."""
    loop, length, since = asyncio.get_running_loop(), len(events), 0.0

    def unchanged():
        nonlocal length, since
        if len(events) != length or not since:
            length, since = len(events), loop.time()
        return loop.time() - since > seconds

    await until(unchanged)


def test_heartbeats_keep_a_connection_open_and_a_missing_answer_closes_it(tmp_path):
    env = {"MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "4", "MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.conformance:endpoint", env=env) as (process, url):

        async def scenario():
            async with (
                Client(url.replace("http", "ws") + "/socket", heartbeat_seconds=1.5, **QUICK) as one,
                Client(env["MESH_ZEROMQ__BIND"], heartbeat_seconds=1.5, **QUICK) as two,
            ):
                rooms = [await client.join("room:beat") for client in (one, two)]
                logs = [[], []]
                for client, log in zip((one, two), logs, strict=True):
                    client.on_close(lambda code, reason, log=log: log.append(reason))
                    client.on_open(lambda log=log: log.append("open"))
                # longer than idle_timeout_seconds
                await asyncio.gather(*(unchanged_for(5.5, log) for log in logs))
                await until(lambda: one.connected and two.connected)
                lengths = [len(log) for log in logs]
                os.kill(process.pid, signal.SIGSTOP)
                try:
                    for log, length in zip(logs, lengths, strict=True):
                        await until(lambda log=log, length=length: "heartbeat timeout" in log[length:])
                finally:
                    os.kill(process.pid, signal.SIGCONT)
                for room in rooms:
                    assert await room.push("echo", {"a": 1}) == {"a": 1}

        run(scenario())
