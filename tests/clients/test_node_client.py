"""clients/node, packed and installed as npm would: alone, against clusters, through deaths, in its examples."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.clients.test_phoenix_js import survive
from tests.support.pool import ANY_PORT, CONFORMANCE, zeromq
from tests.support.processes import node
from tests.support.proxy import free_address
from tests.support.until import LONG, PATIENCE

HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / "clients"
ADDRESS = r"zeromq\s+((?:tcp|ipc)://\S+)"


@pytest.fixture(scope="session")
def programs(installed, tmp_path_factory):
    """A directory with the scripts and, in node_modules, the package as npm ships it."""
    directory = tmp_path_factory.mktemp("programs")
    sources, modules = directory / "sources", directory / "node_modules"
    for name in ("js", "node"):
        ignored = shutil.ignore_patterns("node_modules")
        shutil.copytree(CLIENTS / name, sources / name, symlinks=True, ignore=ignored)
    packing = ["npm", "pack", "--silent", "--pack-destination", directory]
    subprocess.run(packing, cwd=sources / "node", check=True, timeout=LONG, stdout=subprocess.DEVNULL)
    (package,) = directory.glob("channelmesh-node-*.tgz")
    modules.mkdir()
    shutil.unpack_archive(package, modules, filter="data")
    (modules / "package").rename(modules / "channelmesh-node")
    for each in (HERE / "node_modules").iterdir():
        (modules / each.name).symlink_to(each)
    for name in ("node_client", "phoenix_js"):
        shutil.copytree(HERE / name, directory / name)
    return directory


def run(*command, **env):
    done = subprocess.run(
        ["node", *command], capture_output=True, text=True, timeout=LONG, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def running(clusters):
    """Two gateways, and their ZeroMQ addresses."""
    nodes = clusters.conformance()
    return nodes, [nodes.address(name, "zeromq") for name in ("gateway.1", "gateway.2")]


@contextlib.contextmanager
def program(directory, *command, env=None):
    """A Node program that is spoken to; at the end it must have ended by itself."""
    log = (directory / "program.log").open("a+")
    process = subprocess.Popen(
        ["node", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        bufsize=1,
        env={**os.environ, **(env or {})},
    )
    with log, process:
        try:
            yield process
            process.stdin.close()
            assert process.wait(PATIENCE) == 0, Path(log.name).read_text()
        finally:
            process.kill()


def line_of(process, wanted):
    """Read lines until that one."""
    for line in process.stdout:
        if line.rstrip("\n") == wanted:
            return
    raise AssertionError(f"ended without saying {wanted!r}")


def test_the_transport_alone(programs):
    run("--test", "--test-timeout=480000", programs / "node_client")


def test_a_conversation_of_phoenix_js_over_zeromq(programs, running):
    nodes, addresses = running
    run(programs / "phoenix_js" / "conversation.mjs", "phoenix", *nodes.urls, ZEROMQ=" ".join(addresses))


def test_presence_of_phoenix_js_over_zeromq(programs, running):
    nodes, addresses = running
    run(programs / "phoenix_js" / "presence.mjs", "phoenix", *nodes.urls, ZEROMQ=" ".join(addresses))


def test_our_own_socket_channel_and_presence_and_the_process_ends_by_itself(programs, running):
    run(programs / "node_client" / "live.mjs", running[1][0])


def test_a_socket_that_has_nothing_to_say_stays_open(programs, servers):
    server, _ = servers(CONFORMANCE, MESH_GATEWAY__IDLE_TIMEOUT_SECONDS="5")
    run(programs / "node_client" / "idle.mjs", zeromq(server))


def test_curve_before_a_real_gateway(programs, running):
    run(programs / "node_client" / "curve.mjs", running[1][0])


def test_phoenix_js_over_zeromq_comes_back_when_a_worker_or_its_gateway_dies(programs, clusters, tmp_path):
    nodes, address = clusters.one_gateway()
    script = programs / "phoenix_js" / "survive.mjs"
    with program(tmp_path, script, "phoenix", nodes.urls[0], env={"ZEROMQ": address}) as client:
        survive(nodes, client)


def test_our_own_socket_comes_back_when_a_worker_dies_and_when_its_gateway_dies_or_drains(
    programs, clusters, tmp_path
):
    nodes, address = clusters.one_gateway()
    with program(tmp_path, programs / "node_client" / "survive.mjs", address) as client:

        def back(least):
            client.stdin.write(f"{least}\n")
            _, joins, how = client.stdout.readline().rstrip("\n").split(" ", 2)
            return int(joins), how

        line_of(client, "ready")
        old = nodes.kill("workers", 0)
        joins, how = back(1)
        assert 0 < joins < 24
        assert how == "still connected"
        nodes.wait_restarted("workers", 0, old)
        old = nodes.kill("gateways", 0)
        assert back(24) == (24, "1006")
        nodes.wait_restarted("gateways", 0, old)
        nodes.kill("gateways", 0, signal.SIGTERM)
        assert back(24) == (24, "1012")


@pytest.mark.usefixtures("browser")
def test_the_examples_chat_with_a_page_and_speak_on_the_bus(programs, tmp_path):
    proxy = free_address()
    app, at = "examples.chat:endpoint", ["--proxy", proxy, "--log-level", "debug"]
    examples = programs / "node_modules" / "channelmesh-node" / "examples"
    body = '{"user": "Bus", "tab": "bus", "body": "hello from the bus"}'
    with (
        node(tmp_path, "proxy", "--bind", proxy),
        node(tmp_path, "gateway", app, "--port", "0", *at, env=ANY_PORT) as gateway,
        node(tmp_path, "worker", app, *at),
    ):
        address = gateway.wait_for(ADDRESS)[1]
        gateway.wait_for("linked to worker")
        with program(tmp_path, examples / "chat.mjs", address, "Ana") as ana:
            line_of(ana, "* joined room:lobby")
            with program(tmp_path, HERE / "browser" / "node_chat.mjs", gateway.url()) as page:
                line_of(page, "say hello")
                line_of(ana, "Bo: hello from the page")
                ana.stdin.write("hello from Node\n")
                line_of(page, "broadcast")
                ana.stdin.write("/who\n")
                line_of(ana, "* here: Ana, Bo")
                bus = [examples / "bus.mjs", proxy, "room:"]
                with program(tmp_path, *bus, "room:lobby", "new_msg", body) as publisher:
                    line_of(ana, "Bus: hello from the bus")
                    with again_and_again(ana, "seen on the bus\n"):  # whenever the subscription comes
                        seen = until_seen(publisher, "seen on the bus")
                    assert seen.startswith('room:lobby new_msg {"user":"Ana"')
                    publisher.send_signal(signal.SIGINT)
            line_of(ana, "* Bo has left")


@contextlib.contextmanager
def again_and_again(process, text):
    """Write it to a program until the block ends."""
    seen = threading.Event()

    def write():
        while not seen.wait(0.2):
            process.stdin.write(text)
            process.stdin.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        seen.set()
        writer.join()


def until_seen(process, text):
    return next(line for line in process.stdout if text in line)


def test_the_chat_example_says_why_it_cannot_come_in(programs, running):
    """The conformance application refuses that user."""
    chat = programs / "node_modules" / "channelmesh-node" / "examples" / "chat.mjs"
    for address, wanted in ((running[1][0], "unauthorized"), ("tcp//nowhere", "is not a ZeroMQ address")):
        command = ["node", chat, address, "Ana", "private"]
        done = subprocess.run(command, input="", capture_output=True, text=True, timeout=LONG)
        assert wanted in done.stdout
        assert done.stderr == ""
