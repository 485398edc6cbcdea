"""Presence, embedded: the scenarios that the cluster tests run as well."""

import pytest

from tests.support.presence_scenarios import SCENARIOS
from tests.support.processes import serve
from tests.support.websocket import run


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), "tests.support.presence_app:endpoint") as running:
        yield running


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_embedded(people, scenario):
    run(scenario(people[1], people[1]))
