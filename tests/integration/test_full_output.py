"""Commands that run once, whose stdout or stderr is full, closed, or has no reader."""

import os
import subprocess
import sys

import pytest

from mesh.zeromq.keys import KeyDirectory
from tests.support.processes import ROOT
from tests.support.until import PATIENCE

COMMANDS = (
    "version",
    "--help",
    "proxy --help",
    "settings",
    "settings --json",
    "routes examples.conformance:endpoint",
    "keys list --keys {keys}",
    "keys list --json --keys {keys}",
    "keys rotate one --keys {keys}",
)
FULL = "mesh: cannot write to stdout: No space left on device\n"


@pytest.fixture
def run(tmp_path):
    """Run a command with these streams; return its exit code and what it printed to stderr."""
    keys = tmp_path / "keys"
    KeyDirectory(keys).generate("one")

    def run(text, stdout, stderr=subprocess.PIPE):
        command = [sys.executable, "-m", "mesh", *text.format(keys=keys).split()]
        done = subprocess.run(command, cwd=ROOT, stdout=stdout, stderr=stderr, text=True, timeout=PATIENCE)
        return done.returncode, done.stderr

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_sentence_and_exit_code_1(run, command):
    with open("/dev/full", "w") as full:
        assert run(command, full) == (1, FULL)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_reader_that_has_gone_ends_a_command_without_a_word(run, command):
    reader, pipe = os.pipe()
    os.close(reader)
    try:
        assert run(command, pipe) == (1, "")
    finally:
        os.close(pipe)


@pytest.mark.parametrize(("command", "code"), [("version", 1), ("nonsense", 2), ("routes nowhere:app", 2)])
def test_a_full_stderr_does_not_change_the_exit_code(run, command, code):
    with open("/dev/full", "w") as full:
        assert run(command, full, full)[0] == code


@pytest.mark.parametrize(("redirected", "code"), [(">/dev/full 2>&-", 1), (">&-", 0), (">&- 2>&-", 0)])
def test_streams_that_were_closed_at_the_start_are_no_traceback(redirected, code):
    command = f"{sys.executable} -m mesh version {redirected}"
    done = subprocess.run(command, cwd=ROOT, shell=True, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_a_pipe_that_another_program_made_non_blocking_gets_everything(run):
    reader, pipe = os.pipe()
    os.set_blocking(pipe, False)
    with os.fdopen(reader, "rb") as read:
        process = subprocess.Popen([sys.executable, "-m", "mesh", "settings"], cwd=ROOT, stdout=pipe)
        os.close(pipe)
        text = read.read()
        assert process.wait(PATIENCE) == 0
    assert b"MESH_ZEROMQ" in text
