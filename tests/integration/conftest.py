"""Embedded servers that the tests of this folder share."""

import pytest

from tests.support.processes import ORDER, serve


@pytest.fixture(scope="session")
def conformance(tmp_path_factory):
    """(process, url) of the conformance application."""
    with serve(tmp_path_factory.mktemp("serve"), "examples.conformance:endpoint") as running:
        yield running


@pytest.fixture
def base(conformance):
    """The URL of the conformance application."""
    return conformance[1]


@pytest.fixture(scope="session")
def apps(tmp_path_factory):
    """(process, url) of tests.support.apps."""
    with serve(tmp_path_factory.mktemp("serve"), "tests.support.apps:endpoint", env=ORDER) as running:
        yield running


@pytest.fixture(scope="session")
def impatient(tmp_path_factory):
    """(process, url, address for ZeroMQ clients) of the conformance application, with short time-outs."""
    directory = tmp_path_factory.mktemp("serve")
    env = {
        "MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "5",
        "MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "2",
        "MESH_ZEROMQ__BIND": f"ipc://{directory}/clients",
    }
    with serve(directory, "examples.conformance:endpoint", env=env) as (process, url):
        yield process, url, env["MESH_ZEROMQ__BIND"]
