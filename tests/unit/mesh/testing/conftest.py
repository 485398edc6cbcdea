"""The endpoint under test, and a joined channel."""

import pytest

from tests.unit.mesh.testing.case_app import endpoint


@pytest.fixture
def mesh_endpoint():
    return endpoint


@pytest.fixture
def room(channel_case):
    return channel_case.connect().subscribe_and_join("room:1")
