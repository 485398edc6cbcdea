"""mesh join, mesh push, mesh topics, against a real cluster."""

import asyncio
import contextlib
import json
import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.proxy import free_address
from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient, run


@pytest.fixture
def server(running):
    """(the WebSocket's address, that of ZeroMQ clients) of one gateway."""
    return running.urls[0].replace("http", "ws") + "/socket", running.address("gateway.1", "zeromq")


def mesh(*arguments, code=0):
    command = [sys.executable, "-m", "mesh", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@contextlib.contextmanager
def started(*arguments):
    """One command with pipes; it does not outlive a failure."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mesh", *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("transport", [0, 1], ids=["websocket", "zeromq"])
def test_a_push_prints_its_reply(server, transport):
    address = server[transport]
    assert mesh("push", address, "room:1", "echo", '{"a": [1]}').stdout == '{"a":[1]}\n'
    assert mesh("push", address, "room:1", "echo").stdout == "{}\n"
    done = mesh("push", address, "room:1", "echo", '{"a": 1}', "--json", "--format", "msgpack")
    assert json.loads(done.stdout) == {"status": "ok", "response": {"a": 1}}
    done = mesh("push", address, "room:1", "fail", code=1)
    assert (done.stdout, "answered with status error" in done.stderr) == ('{"reason":"bad"}\n', True)
    assert mesh("push", address, "room:1", "new_msg", "--no-reply").stdout == ""
    done = mesh("push", address, "room:1", "noreply", "--timeout", "0.1", code=1)
    assert "not answered within 0.1 seconds: its handler may not reply (--no-reply)" in done.stderr


def test_what_cannot_be_is_one_line_and_an_exit_code(server):
    address = server[0]
    assert "unauthorized" in mesh("push", address, "room:private", "echo", code=1).stderr
    assert "403" in mesh("push", address, "room:1", "echo", "--param", "token=bad", code=1).stderr
    assert "cannot be reached" in mesh("join", "ws://127.0.0.1:1/socket", "room:1", code=1).stderr
    assert "is not JSON" in mesh("push", address, "room:1", "echo", "{", code=2).stderr
    assert "want [ADDRESS] TOPIC EVENT" in mesh("push", address, "room:1", code=2).stderr
    assert "want [ADDRESS] TOPIC" in mesh("join", "room:1", "room:2", code=2).stderr
    assert "NAME=VALUE" in mesh("join", address, "room:1", "--param", "x", code=2).stderr
    assert "not a ZeroMQ address" in mesh("join", "tcp://here", "room:1", code=2).stderr


@pytest.mark.parametrize("transport", [0, 1], ids=["websocket", "zeromq"])
def test_join_prints_what_comes_and_pushes_what_stdin_says(server, transport):
    address = server[transport]
    with started("join", address, "room:join", "--json", "--count", "2") as process:
        process.stdin.write('echo {"a": 1}\n\nnew_msg {\nnew_msg {"n": 1}\nfail\nnew_msg {"n": 2}')
        process.stdin.close()
        lines = [json.loads(line) for line in process.stdout]
        errors = process.stderr.read()
        assert process.wait(PATIENCE) == 0, errors
    events = [each["payload"] for each in lines if "payload" in each]
    assert events == [{"n": 1}, {"n": 2}]
    assert {"topic": "room:join", "event": "echo", "status": "ok", "response": {"a": 1}} in lines
    assert {
        "topic": "room:join",
        "event": "fail",
        "status": "error",
        "response": {"reason": "bad"},
    } in lines
    assert "'{' is not JSON" in errors
    assert "room:join: joined" in errors


def test_join_is_readable_and_shows_who_is_there(server):
    with started("join", server[0], "presence:join", "--presence", "--param", "user_id=ana") as process:
        assert "presence:join here: ana" in process.stdout.readline()

        async def scenario():
            client = await PhoenixClient.connect(
                server[0].replace("ws", "http").removesuffix("/socket"), "user_id=bo"
            )
            await client.join("presence:join")
            # It stays until it is seen: who comes and goes at once is in one diff, and nowhere in the list.
            assert "presence:join here: ana, bo" in await asyncio.to_thread(process.stdout.readline)

        run(scenario())
        assert "presence:join here: ana\n" in process.stdout.readline()

    with started("join", server[0], "room:readable", "--count", "1") as process:
        process.stdin.write('new_msg {"body": "[b]hi[/b]"}\n')
        process.stdin.flush()
        assert 'room:readable new_msg {"body":"[b]hi[/b]"}' in process.stdout.read()
        assert process.wait(PATIENCE) == 0


def test_topics_are_counted_on_every_gateway(running):
    proxy = running.status["proxy"]["address"]

    async def scenario():
        clients = [await PhoenixClient.connect(url) for url in (*running.urls, running.urls[0])]
        for client in clients:
            assert (await client.join("room:busy"))[0] == "ok"
        for number in range(3):
            await clients[0].join(f"room:{number}")
        await clients[0].join("bench:1")

        def ask(*arguments):
            return asyncio.to_thread(mesh, "topics", *arguments, "--proxy", proxy)

        some, everything, one, cut = await asyncio.gather(
            ask("room:*", "--json"),
            ask(),
            ask("bench:1", "--json"),
            ask("room:*", "--limit", "1", "--json"),
        )
        listed = [json.loads(line) for line in some.stdout.splitlines()]
        assert [(each["topic"], each["members"]) for each in listed] == [
            ("room:busy", 3),
            ("room:0", 1),
            ("room:1", 1),
            ("room:2", 1),
        ]
        assert sorted(listed[0]["gateways"].values()) == [1, 2]
        assert "bench:1" in everything.stdout
        assert "gateway-" in everything.stdout
        assert [json.loads(line)["topic"] for line in one.stdout.splitlines()] == ["bench:1"]
        assert json.loads(cut.stdout)["topic"] == "room:busy"
        assert "has 4 matching topics and reported 1" in cut.stderr
        await clients[0].push("bench:1", "phx_leave")
        assert (await ask("bench:*", "--json")).stdout == ""

    run(scenario())
    assert "starts with '$'" in mesh("topics", "$nodes", "--proxy", proxy, code=2).stderr
    assert "no proxy answered" in mesh("topics", "--proxy", free_address(), code=1).stderr


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
def test_a_client_whose_stdout_is_full_ends_with_one_sentence(server, running, options):
    proxy = ("--proxy", running.status["proxy"]["address"])
    commands = (
        ("push", server[0], "room:full", "echo", *options),
        ("join", server[1], "presence:full", "--presence", "--param", "user=ana", *options),
        ("nodes", *proxy, *options),
        ("topics", *proxy, *options),
    )
    with started("join", server[0], "room:full") as joined, open("/dev/full", "w") as full:
        while "joined" not in joined.stderr.readline():
            pass
        for command in commands:
            done = subprocess.run(
                [sys.executable, "-m", "mesh", *command],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=full, stderr=subprocess.PIPE, text=True, timeout=PATIENCE,
            )  # fmt: skip
            sentences = [line for line in done.stderr.splitlines() if "presence:full:" not in line]
            assert sentences == ["mesh: cannot write to stdout: No space left on device"], command
            assert done.returncode == 1


def test_a_client_whose_reader_has_gone_ends_without_a_word(server):
    with started("join", server[0], "room:gone") as joined:
        while "joined" not in joined.stderr.readline():
            pass
        joined.stdout.close()
        while joined.poll() is None:
            mesh("push", server[0], "room:gone", "new_msg", "--no-reply")
        assert joined.returncode == 1
        assert joined.stderr.read().splitlines() == ["room:gone: closed (the client was closed)"]
