"""nodes/cli/: help that teaches, and errors of one line."""

import json
import os
import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from mesh.nodes import cli
from mesh.nodes.cli.main import COMMANDS, application


def mesh(*arguments, env=None):
    return CliRunner().invoke(application(), arguments, env={"COLUMNS": "200", **(env or {})})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command):
    assert command in mesh("--help").output
    result = mesh(command, "--help")
    assert result.exit_code == 0
    if command in ("serve", "gateway", "worker", "proxy", "cluster"):
        assert f"Example: mesh {command}" in result.output


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        (["version"], ["asyncio", "rich", "structlog", "tornado", "zmq"]),
        (["proxy", "--help"], ["mesh.client", "nodes.gateway", "nodes.worker", "tornado.websocket"]),
    ],
)
def test_a_command_imports_only_what_it_needs(command, unused):
    code = f"import sys; from mesh.nodes.cli import main\ntry: main({command})\nfinally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(unused) & set(done.stderr.split()) == set()


def test_routes_are_printed_in_order():
    output = mesh("routes", "examples.conformance").output
    assert output.index("room:*") < output.index("bench:*")
    assert "/socket/websocket" in output


def test_settings_can_be_read_by_a_program():
    rows = json.loads(mesh("settings", "--json", env={"MESH_GATEWAY__PORT": "4001"}).output)
    (port,) = [row for row in rows if row["name"] == "gateway.port"]
    assert (port["value"], port["origin"]) == (4001, "environment")
    assert "MESH_GATEWAY__PORT" in mesh("settings").output


@pytest.mark.parametrize(
    ("arguments", "env", "code", "line"),
    [
        (["serve", "nope:x"], {}, 2, "mesh: no module 'nope'"),
        (
            ["serve", "examples.conformance"],
            {"MESH_GATEWAY__PROT": "1"},
            2,
            "mesh: MESH_GATEWAY__PROT: unknown",
        ),
        (["proxy", "--bind", "tcp://0.0.0.0:7777"], {}, 2, "mesh: cannot listen: 'tcp://0.0.0.0:7777'"),
        (["proxy", "--bind", "nonsense"], {}, 2, "mesh: MESH_BUS__PROXIES: "),
        (["worker", "examples.conformance", "--log-level", "loud"], {}, 2, "mesh: MESH_LOG__LEVEL: 'loud'"),
    ],
)
def test_what_goes_wrong_is_one_line_and_an_exit_code(monkeypatch, capsys, arguments, env, code, line):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == code
    error = capsys.readouterr().err
    assert line in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("command", ["serve", "gateway", "cluster"])
def test_an_occupied_port_is_one_line(command):
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
def test_the_launchers_are_the_commands(script):
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", "--help"], capture_output=True, text=True, timeout=60
    )
    assert "Example: mesh" in done.stdout


@pytest.mark.parametrize("module", ["gateway", "worker", "proxy", "embedded"])
def test_nodes_are_modules_too(module):
    done = subprocess.run(
        [sys.executable, "-m", f"nodes.{module}", "--help"], capture_output=True, text=True, timeout=60
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
