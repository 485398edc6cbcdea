"""clients/js: its own tests in Node, and against a running server."""

import subprocess
from pathlib import Path

from tests.support.pool import CONFORMANCE
from tests.support.until import LONG

HERE = Path(__file__).parent / "js"


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_alone():
    run("node", "--test", str(HERE))


def test_the_client_against_a_server(servers):
    run("node", HERE / "live.mjs", servers(CONFORMANCE)[1])


def test_auth_tokens_nested_parameters_and_msgpack(servers):
    run("node", HERE / "options.mjs", servers("tests.support.mounts_app:endpoint")[1])
