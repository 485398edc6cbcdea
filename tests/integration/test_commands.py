"""Commands as processes: what they import, and errors of one line."""

import os
import socket
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        (["version"], ["asyncio", "rich", "structlog", "tornado", "zmq"]),
        (
            ["proxy", "--help"],
            ["mesh.client", "mesh.nodes.gateway", "mesh.nodes.worker", "tornado.websocket"],
        ),
    ],
)
def test_a_command_imports_only_what_it_needs(command, unused):
    code = f"import sys; from mesh.nodes.cli import main\ntry: main({command})\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(unused) & set(done.stderr.split()) == set()


@pytest.mark.parametrize(
    ("node", "unused"),
    [
        ("worker", ["importlib.metadata", "prometheus_client", "tornado", "mesh.history.memory_recorder"]),
        ("gateway", ["importlib.metadata", "prometheus_client"]),
    ],
)
def test_a_node_imports_nothing_for_a_port_for_operators_or_for_histories_that_it_does_not_have(
    node, unused
):
    code = f"import sys, mesh.nodes.cli.nodes, mesh.nodes.{node}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(unused) & set(done.stdout.split()) == set()


@pytest.mark.parametrize("command", ["serve", "gateway", "cluster"])
def test_an_occupied_port_is_an_error_of_one_line(command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "mesh", command, "examples.conformance", "--port", port],
            capture_output=True, text=True, timeout=180,
        )  # fmt: skip
    assert done.returncode == 1
    assert f"mesh: cannot listen on 127.0.0.1:{port}: " in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("script", ["run_gateway", "run_worker", "run_proxy", "local_cluster"])
def test_the_launcher_scripts_run_the_commands(script):
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", "--help"], capture_output=True, text=True, timeout=60
    )
    assert "Example: mesh" in done.stdout


def test_a_worker_whose_link_address_is_occupied_ends_with_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = subprocess.run(
            [sys.executable, "-m", "mesh", "worker", "examples.conformance"],
            capture_output=True, text=True, timeout=180, env={**os.environ, "MESH_LINK__BIND": address},
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"mesh: cannot listen on {address}: Address already in use"]
