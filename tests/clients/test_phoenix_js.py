"""The official phoenix.js, unmodified, in Node: embedded and across a cluster, several releases."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import ORDER, cluster, serve
from tests.support.until import LONG, PATIENCE

SCRIPTS = Path(__file__).parent / "phoenix_js"
RELEASES = ["phoenix", "phoenix-1-8-6", "phoenix-1-7"]

CONFORMANCE = "examples.conformance:endpoint"
APPS = "tests.support.apps:endpoint"


def node(script, package, *urls, **env):
    done = subprocess.run(
        ["node", SCRIPTS / script, package, *urls],
        capture_output=True,
        text=True,
        timeout=LONG,
        env={**os.environ, **env},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), CONFORMANCE) as (_, url):
        yield [url]


@pytest.fixture(scope="module")
def clustered(tmp_path_factory):
    env = {"MESH_LONGPOLL__WINDOW_SECONDS": "4"}
    with cluster(tmp_path_factory.mktemp("cluster"), CONFORMANCE, env=env) as running:
        yield running.urls


@pytest.fixture(scope="module")
def embedded_apps(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), APPS, env=ORDER) as (_, url):
        yield [url]


@pytest.fixture(scope="module")
def clustered_apps(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), APPS, env=ORDER) as running:
        yield running.urls


@pytest.mark.parametrize("package", RELEASES)
def test_a_conversation_embedded(embedded, package):
    node("conversation.mjs", package, *embedded)


@pytest.mark.parametrize("package", RELEASES)
def test_a_conversation_through_two_gateways(clustered, package):
    node("conversation.mjs", package, *clustered)


@pytest.mark.parametrize("package", RELEASES)
def test_a_conversation_by_long_poll(clusters, package):
    """Its requests come to one gateway; tests/cluster/test_longpoll.py lets them come to both."""
    node("conversation.mjs", package, *clusters(CONFORMANCE).urls, LONGPOLL="1")


@pytest.mark.parametrize("longpoll", ["", "1"], ids=["websocket", "longpoll"])
@pytest.mark.parametrize("package", RELEASES)
def test_presence(clustered, package, longpoll):
    node("presence.mjs", package, *clustered, LONGPOLL=longpoll)


@pytest.mark.parametrize("package", ["phoenix", "phoenix-1-8-6"])
def test_it_falls_back_to_long_poll_by_itself(tmp_path, package):
    with serve(tmp_path, "tests.support.fallback_app:endpoint") as (_, url):
        node("fallback.mjs", package, url)


def test_auth_tokens_and_msgpack(tmp_path):
    with serve(tmp_path, "tests.support.mounts_app:endpoint") as (_, url):
        node("options.mjs", "phoenix", url)


@pytest.mark.parametrize("package", RELEASES)
def test_order_and_slow_joins_embedded(embedded_apps, package):
    node("order.mjs", package, *embedded_apps)


@pytest.mark.parametrize("package", RELEASES)
def test_order_and_slow_joins_in_a_cluster(clustered_apps, package):
    node("order.mjs", package, *clustered_apps)


@pytest.mark.parametrize("package", RELEASES)
def test_phoenix_js_comes_back_when_a_worker_or_its_gateway_dies(clusters, package):
    running = clusters(CONFORMANCE)
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
