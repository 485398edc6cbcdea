"""nodes/cluster/status_file.py: a status file on a disk that is full, at first or later."""

import json

import pytest

from mesh.errors import NodeError
from mesh.nodes.cluster import status_file
from mesh.nodes.cluster.status_file import StatusFile


@pytest.fixture
def path(tmp_path):
    return tmp_path / "status.json"


@pytest.fixture
def lines(monkeypatch):
    said = []

    class Log:
        warning = info = staticmethod(lambda event, **fields: said.append((event, fields.get("reason"))))

    monkeypatch.setattr(status_file, "log", Log())
    return said


def fill_disk(path):
    path.with_name("status.json.partial").symlink_to("/dev/full")


FULL = ("status file not written", "No space left on device")


def test_a_full_disk_at_the_start_is_logged_once_and_retried_at_the_next_change(path, lines):
    path.write_text("of an earlier cluster")
    file = StatusFile(path)
    fill_disk(path)
    file.write_first({"n": 0})
    assert list(path.parent.iterdir()) == []
    fill_disk(path)
    file.write({"n": 1})
    assert lines == [FULL]
    file.write({"n": 2})
    assert json.loads(path.read_text()) == {"n": 2}
    assert lines[1:] == [("status file written again", None)]


def test_a_disk_that_fills_later_leaves_the_last_complete_file(path, lines):
    file = StatusFile(path)
    file.write_first({"n": 0})
    for number in (1, 2):
        fill_disk(path)
        file.write({"n": number})
        assert list(path.parent.iterdir()) == [path]
        assert json.loads(path.read_text()) == {"n": 0}
    assert lines == [FULL]


def test_a_directory_that_vanishes_later_is_a_warning(path, tmp_path, lines):
    path = tmp_path / "later" / "status.json"
    path.parent.mkdir()
    file = StatusFile(path)
    file.write_first({})
    path.unlink()
    path.parent.rmdir()
    file.write({})
    assert lines == [("status file not written", "No such file or directory")]


@pytest.mark.parametrize("wrong", ["missing/status.json", "file/status.json", "directory"])
def test_a_path_that_can_hold_no_file_is_refused_at_the_start(tmp_path, wrong):
    (tmp_path / "file").write_text("")
    (tmp_path / "directory").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(NodeError, match="cannot write"):
        StatusFile(tmp_path / wrong).write_first({})
    assert sorted(tmp_path.iterdir()) == before
