"""Embedded servers that the tests of this folder share."""

import pytest

from tests.support.processes import ORDER, serve


@pytest.fixture(scope="session")
def conformance(tmp_path_factory):
    """(process, url) of the conformance application."""
    with serve(tmp_path_factory.mktemp("serve"), "examples.conformance:endpoint") as running:
        yield running


@pytest.fixture(scope="session")
def apps(tmp_path_factory):
    """(process, url) of tests.support.apps."""
    env = {
        "MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "2",
        "MESH_GATEWAY__HANDSHAKE_TIMEOUT_SECONDS": "1",
        **ORDER,
    }
    with serve(tmp_path_factory.mktemp("serve"), "tests.support.apps:endpoint", env=env) as running:
        yield running
