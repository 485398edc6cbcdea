"""A connected session."""

import pytest

from tests.unit.mesh.client.timeline import Timeline


@pytest.fixture
def timeline():
    made = Timeline()
    made.open()
    return made
