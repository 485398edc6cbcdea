"""nodes/runtime/private_directory.py: where sockets lie that no other user can reach."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mesh.errors import NodeError
from mesh.nodes.runtime.private_directory import PREFIX, PrivateDirectory

KEEPS = """
import sys, time
from mesh.nodes.runtime.private_directory import PrivateDirectory
print(PrivateDirectory().path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def tmp_path():
    """Shorter than pytest's own: a socket's path must not be long."""
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        yield Path(directory)


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    directory = tmp_path / "run"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return directory


def test_it_is_ours_alone_and_goes_with_its_content(runtime):
    with PrivateDirectory() as path:
        assert path.parent == runtime
        found = path.stat()
        assert stat.S_IMODE(found.st_mode) == 0o700
        assert found.st_uid == os.geteuid()
        (path / "link").write_text("")
    assert list(runtime.iterdir()) == []


@pytest.mark.parametrize("wrong", ["", "relative", "/nowhere/at/all", "open", "linked"])
def test_a_runtime_directory_that_is_not_ours_alone_is_not_used(runtime, tmp_path, monkeypatch, wrong):
    if wrong == "open":
        runtime.chmod(0o755)
    elif wrong == "linked":
        (tmp_path / "linked").symlink_to(runtime)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "linked"))
    else:
        monkeypatch.setenv("XDG_RUNTIME_DIR", wrong)
    with PrivateDirectory() as path:
        assert path.parent == tmp_path


def test_a_path_too_long_for_a_socket_says_the_way_out(runtime, tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    long = tmp_path / ("d" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(NodeError, match=r"at most 107.*TMPDIR.*MESH_LINK__BIND"):
        PrivateDirectory()
    assert list(long.iterdir()) == []


def test_a_directory_that_cannot_be_written_to_says_the_way_out(runtime, monkeypatch):
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(NodeError, match="MESH_LINK__BIND"):
        PrivateDirectory()


def test_what_killed_processes_leave_behind_is_removed_and_what_lives_is_kept(runtime):
    killed, alive = (
        subprocess.Popen([sys.executable, "-c", KEEPS], stdout=subprocess.PIPE, text=True) for _ in range(2)
    )
    with killed, alive:
        try:
            left, kept = killed.stdout.readline().strip(), alive.stdout.readline().strip()
            (runtime / os.path.basename(left) / "link").write_text("")
            killed.send_signal(signal.SIGKILL)
            killed.wait(120)
            with PrivateDirectory() as path:
                assert {str(each) for each in runtime.iterdir()} == {kept, str(path)}
        finally:
            killed.kill()
            alive.kill()


def test_what_only_looks_like_a_leftover_is_kept(runtime, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "precious").write_text("")
    (runtime / f"{PREFIX}link").symlink_to(elsewhere)
    (runtime / f"{PREFIX}file").write_text("")
    (runtime / f"{PREFIX}open").mkdir(mode=0o755)
    PrivateDirectory().close()
    assert (elsewhere / "precious").exists()
    assert len(list(runtime.iterdir())) == 3
