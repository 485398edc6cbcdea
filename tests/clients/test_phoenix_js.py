"""The official phoenix.js, unmodified, in Node: embedded and across a cluster, several releases."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.pool import APPS, CONFORMANCE
from tests.support.processes import ORDER
from tests.support.until import LONG, PATIENCE

SCRIPTS = Path(__file__).parent / "phoenix_js"
RELEASES = ["phoenix", "phoenix-1-8-6", "phoenix-1-7"]


def node(script, package, *urls, **env):
    done = subprocess.run(
        ["node", SCRIPTS / script, package, *urls],
        capture_output=True,
        text=True,
        timeout=LONG,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def embedded(servers):
    return [servers(CONFORMANCE)[1]]


@pytest.fixture
def clustered(clusters):
    return clusters.conformance().urls


@pytest.fixture
def embedded_apps(servers):
    return [servers(APPS, **ORDER)[1]]


@pytest.fixture
def clustered_apps(clusters):
    return clusters.apps().urls


@pytest.mark.parametrize("package", [*RELEASES, "phoenix-1-6"])
def test_a_conversation_embedded(embedded, package):
    node("conversation.mjs", package, *embedded)


@pytest.mark.parametrize("package", RELEASES)
def test_a_conversation_through_two_gateways(clustered, package):
    node("conversation.mjs", package, *clustered)


@pytest.mark.parametrize("package", RELEASES)
def test_a_conversation_by_long_poll(clustered, package):
    """Its requests come to one gateway; tests/cluster/test_longpoll.py lets them come to both."""
    node("conversation.mjs", package, *clustered, LONGPOLL="1")


@pytest.mark.parametrize("package", RELEASES)
def test_presence(clustered, package):
    node("presence.mjs", package, *clustered)


def test_presence_by_long_poll(clustered):
    """Of one release: what they do by long-poll, they do in a conversation, too."""
    node("presence.mjs", "phoenix", *clustered, LONGPOLL="1")


@pytest.mark.parametrize("package", ["phoenix", "phoenix-1-8-6"])
def test_it_falls_back_to_long_poll_by_itself(servers, package):
    node("fallback.mjs", package, servers("tests.support.fallback_app:endpoint")[1])


def test_auth_tokens_and_msgpack(servers):
    node("options.mjs", "phoenix", servers("tests.support.mounts_app:endpoint")[1])


@pytest.mark.parametrize("package", RELEASES)
def test_order_and_slow_joins_embedded(embedded_apps, package):
    node("order.mjs", package, *embedded_apps)


@pytest.mark.parametrize("package", RELEASES)
def test_order_and_slow_joins_in_a_cluster(clustered_apps, package):
    node("order.mjs", package, *clustered_apps)


@pytest.mark.parametrize("package", RELEASES)
def test_phoenix_js_comes_back_when_a_worker_or_its_gateway_dies(clusters, package):
    running = clusters.conformance()
    client = subprocess.Popen(
        ["node", SCRIPTS / "survive.mjs", package, running.urls[0]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with client:
        try:
            survive(running, client)
        finally:
            client.kill()


def survive(running, client):
    def expect(least):
        client.stdin.write(f"{least}\n")
        client.stdin.flush()
        line = client.stdout.readline().split()
        assert line[:1] == ["rejoined"], line
        return int(line[1])

    assert client.stdout.readline() == "ready\n"
    old = running.kill("workers", 0)
    assert 0 < expect(1) < 24
    running.wait_restarted("workers", 0, old)
    for number in (signal.SIGKILL, signal.SIGTERM):
        running.kill("gateways", 0, number)
        assert expect(24) == 24
    client.stdin.write("end\n")
    client.stdin.flush()
    assert client.wait(PATIENCE) == 0
