"""mesh new and mesh gen: what they make runs, passes its own tests and is clean."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mesh.errors import MeshError
from mesh.nodes.cli.main import application
from mesh.nodes.generators.render import check_package, snake

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mesh(*arguments):
    result = CliRunner().invoke(application(), arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def run(directory, *command):
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_new_application_passes_its_tests_and_is_clean(here):
    output = mesh("new", "shop_chat")
    assert "created shop_chat/shop_chat/room_channel.py" in output
    assert "mesh serve shop_chat:endpoint" in output
    application = here / "shop_chat"
    here_mesh = mesh_in(application)
    for arguments in (
        ("gen", "channel", "SupportDesk"),
        ("gen", "socket", "Staff", "--from-channel", "SupportDesk"),
        ("gen", "presence"),
        ("gen", "presence", "Customers"),
    ):
        here_mesh(*arguments)
    assert "8 passed" in run(application, sys.executable, "-m", "pytest", "-q", "-W", "error")
    run(
        application,
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--isolated",
        "--select",
        "E,F,I,UP,B",
        "--line-length",
        "120",
        ".",
    )
    check = (
        "import shop_chat.staff_socket, shop_chat.people, shop_chat.customers as c; print(c.customers.name)"
    )
    assert run(application, sys.executable, "-c", check) == "customers\n"
    assert "room:*" in run(application, sys.executable, "-m", "mesh", "routes", "shop_chat:endpoint")


def mesh_in(directory):
    def call(*arguments):
        return run(directory, sys.executable, "-m", "mesh", *arguments)

    return call


def test_the_page_gets_the_client_that_we_ship(here):
    mesh("new", "chat")
    for name in ("channelmesh.js", "presence.js"):
        assert (here / "chat/chat/static" / name).read_text() == (ROOT / "clients/js" / name).read_text()


def test_nothing_is_written_over_what_is_there(here):
    mesh("new", "chat")
    (here / "chat/README.md").write_text("mine")
    with pytest.raises(MeshError, match=r"chat/README.md already exists; nothing was written"):
        mesh("new", "chat")
    assert (here / "chat/README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["Chat", "1chat", "my chat", "class", "", "../x", "a-b"])
def test_a_name_that_no_package_can_have_is_refused(here, name):
    with pytest.raises(MeshError, match="is not a package name"):
        mesh("new", name)
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("name", ["mesh", "json", "tests"])
def test_a_name_that_is_taken_is_refused(name):
    with pytest.raises(MeshError, match=f"{name}_app"):
        check_package(name)


@pytest.mark.parametrize("name", ["gateway", "nodes"])
def test_a_name_of_a_folder_of_ours_is_free(name):
    assert check_package(name) == name


@pytest.mark.parametrize("name", ["room", "Room_1", "Room.X", "", "7Up"])
def test_a_class_name_must_be_camel_case(here, name):
    with pytest.raises(MeshError, match="CamelCase"):
        mesh("gen", "channel", name, "--package", "chat")


def test_gen_wants_to_know_the_package(here):
    with pytest.raises(MeshError, match="no package with an Endpoint; choose one with --package"):
        mesh("gen", "channel", "Room")
    for name in ("one", "two"):
        (here / name).mkdir()
        (here / name / "__init__.py").write_text("endpoint = Endpoint({})")
    with pytest.raises(MeshError, match="several packages with an Endpoint: one, two"):
        mesh("gen", "presence")


def test_snake_case():
    assert [snake(name) for name in ("Room", "ChatRoom", "HTTPRoom", "Room2Go")] == [
        "room",
        "chat_room",
        "httproom",
        "room2_go",
    ]
