"""mesh nodes, mesh tail, mesh broadcast, against a real cluster."""

import json
import subprocess
import sys

from tests.support.processes import ROOT
from tests.support.proxy import free_address
from tests.support.until import PATIENCE
from tests.support.websocket import PhoenixClient, run


def mesh(*arguments, code=0):
    command = [sys.executable, "-m", "mesh", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def test_the_nodes_are_listed(running):
    proxy = running.status["proxy"]["address"]
    listed = [json.loads(line) for line in mesh("nodes", "--proxy", proxy, "--json").splitlines()]
    assert [each["kind"] for each in listed] == ["gateway", "gateway", "worker", "worker"]
    assert {"mount": "/socket", "route": "room:*"} in listed[2]["routes"]
    assert "worker-" in mesh("nodes", "--proxy", proxy)


def test_a_broadcast_is_sent_and_seen(running):
    proxy = running.status["proxy"]["address"]
    tails = [
        subprocess.Popen(
            [sys.executable, "-m", "mesh", "tail", "room:*", "--proxy", proxy, "--count", "2", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        for options in ([], ["--json"])
    ]

    async def scenario():
        client = await PhoenixClient.connect(running.urls[0])
        await client.join("room:tail")
        while any(tail.poll() is None for tail in tails):
            mesh("broadcast", "room:tail", "hello", '{"a": [1]}', "--proxy", proxy)
            assert (await client.next())[3:] == ["hello", {"a": [1]}]

    run(scenario())
    (plain, _), (lines, _) = [tail.communicate() for tail in tails]
    assert 'room:tail hello {"a":[1]}' in plain
    assert json.loads(lines.splitlines()[0]) == {
        "topic": "room:tail",
        "event": "hello",
        "payload": {"a": [1]},
    }


def test_what_cannot_be_is_one_line(running):
    proxy = running.status["proxy"]["address"]
    assert "'{' is not JSON" in mesh("broadcast", "room:1", "e", "{", "--proxy", proxy, code=2)
    assert "not an object" in mesh("broadcast", "room:1", "e", "[1]", "--proxy", proxy, code=2)
    assert "starts with '$'" in mesh("tail", "$nodes", "--proxy", proxy, code=2)
    message = mesh("nodes", "--proxy", free_address(), code=1)
    assert "no proxy answered" in message.strip().splitlines()[-1]
    assert "Traceback" not in message
