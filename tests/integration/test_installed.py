"""What an installation puts on a user's path: `mesh` alone, beside any package called gateway or nodes."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.support.processes import ROOT

APPLICATION = """
import gateway
import nodes
from mesh import Channel, Endpoint, SocketHandler

assert (gateway.OWNER, nodes.OWNER) == ("shop", "shop")


class Room(Channel):
    pass


class User(SocketHandler):
    channels = {"room:*": Room}


endpoint = Endpoint(sockets={"/socket": User})
"""
TEST = """
import gateway
import nodes
import pytest
from shop import endpoint


@pytest.fixture
def mesh_endpoint():
    return endpoint


def test_a_join(channel_case):
    assert (gateway.OWNER, nodes.OWNER) == ("shop", "shop")
    assert channel_case.socket().join("room:1").reply == {}
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp("source")
    for name in ("mesh", "gateway", "nodes", "clients/js"):  # templates are links to files of clients/js
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", source / "dist", source], check=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`installed(*command)` runs one in a project with a package gateway and a module nodes; its output."""
    target, project = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("project")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)  # a wheel of pure Python is installed by unpacking it
    (project / "gateway").mkdir()
    (project / "gateway" / "__init__.py").write_text('OWNER = "shop"\n')
    (project / "nodes.py").write_text('OWNER = "shop"\n')
    (project / "shop.py").write_text(APPLICATION)
    (project / "test_shop.py").write_text(TEST)

    def run(*command):
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(project)])}
        done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = run(sys.executable, "-c", "import mesh.gateway.hub as hub; print(hub.__file__)")
    assert where.strip() == str(target / "mesh" / "gateway" / "hub.py")
    return run


def test_the_wheel_has_one_package_with_all_of_its_files(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"mesh"}
    packaged = {name.removeprefix("mesh/") for name in names if name.startswith("mesh/")}
    for top in ("mesh", "gateway", "nodes"):
        files = [
            path
            for path in (ROOT / top).rglob("*")
            if path.is_file() and path.suffix not in (".md", ".pyc")
        ]
        assert len(files) > 10
        prefix = "" if top == "mesh" else f"{top}/"
        assert {prefix + str(path.relative_to(ROOT / top)) for path in files} - packaged == set()


def test_a_project_with_a_package_gateway_and_a_module_nodes_runs(installed):
    assert "room:*" in installed(sys.executable, "-m", "mesh", "routes", "shop:endpoint")


def test_the_pytest_plugin_does_not_import_what_a_project_may_have(installed):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_shop.py"]
    assert "1 passed" in installed(*command)


def test_this_checkout_is_installed_as_one_package_too(tmp_path):
    (tmp_path / "gateway.py").write_text('OWNER = "shop"\n')
    code = "import gateway, mesh.gateway, mesh.nodes; print(gateway.OWNER)"
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "shop\n"
