"""nodes/cli/: help that teaches, and errors of one line."""

import asyncio
import json

import pytest
from typer.testing import CliRunner

from mesh.nodes import cli
from mesh.nodes.cli import bus
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
def test_an_error_is_one_line_and_an_exit_code(monkeypatch, capsys, arguments, env, code, line):
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == code
    error = capsys.readouterr().err
    assert line in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


def test_ctrl_c_while_nodes_are_looked_for_is_silent(monkeypatch, capsys):
    def interrupted(work):
        work.close()
        raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "run", interrupted)
    bus.nodes(["tcp://127.0.0.1:1"], json=True)
    assert capsys.readouterr() == ("", "")
