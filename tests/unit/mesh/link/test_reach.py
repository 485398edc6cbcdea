"""mesh/link/reach.py: which announced sockets a gateway can reach, and what it says of the others."""

import os
import socket

import pytest

from mesh.link import reach
from mesh.link.reach import machine, why_unreachable


@pytest.fixture
def path(tmp_path):
    where = str(tmp_path / "link")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(where)
        yield where


@pytest.mark.parametrize("announced", [None, machine()])
def test_a_socket_of_this_machine_is_reached(path, announced):
    assert why_unreachable(f"ipc://{path}", announced) is None


@pytest.mark.parametrize("address", ["tcp://10.0.0.1:5", "inproc://link", "ipc://@abstract"])
def test_what_is_no_path_is_left_to_zeromq(address):
    assert why_unreachable(address, "another") is None


def test_a_path_of_another_machine_is_not_taken_for_a_local_one(path):
    said = why_unreachable(f"ipc://{path}", "another machine")
    assert path in said
    assert "only on the worker's machine" in said
    assert "MESH_LINK__BIND=tcp://" in said


def test_a_path_that_is_not_there_is_said_so(tmp_path):
    said = why_unreachable(f"ipc://{tmp_path}/none", machine())
    assert "does not exist here" in said
    assert "MESH_LINK__BIND=tcp://" in said


def test_what_can_be_no_path_at_all_is_not_there():
    assert "does not exist here" in why_unreachable("ipc://a\0b", machine())


def test_a_socket_of_another_user_is_said_so(path):
    os.chmod(path, 0o600)
    os.chmod(os.path.dirname(path), 0o700)
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setresuid(65_534, 65_534, 65_534)
            else:  # nobody else to be: nobody may enter
                os.chmod(os.path.dirname(path), 0)
            said = why_unreachable(f"ipc://{path}", machine()) or ""
            os._exit(0 if "another user" in said and "MESH_LINK__BIND=tcp://" in said else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.chmod(os.path.dirname(path), 0o700)


def test_the_machine_is_the_same_for_all_processes_and_says_nothing_about_it(monkeypatch, tmp_path):
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("6d3c1b5a-1111-2222-3333-444455556666\n")
    monkeypatch.setattr(reach, "_BOOT_ID", boot_id)
    made = machine.__wrapped__()
    assert made == machine.__wrapped__()
    assert made not in boot_id.read_text()
    boot_id.write_text("another")
    assert machine.__wrapped__() != made
