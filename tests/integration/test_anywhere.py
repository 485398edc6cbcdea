"""The endpoint's verbs, embedded: the scenarios that the cluster tests run as well."""

import pytest

from tests.support.anywhere_scenarios import OF_WORKERS, SCENARIOS
from tests.support.processes import serve
from tests.support.websocket import run


@pytest.fixture(scope="module")
def anywhere(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("serve"), "tests.support.anywhere_app:endpoint") as running:
        yield running


@pytest.mark.parametrize("scenario", [*SCENARIOS, *OF_WORKERS], ids=lambda each: each.__name__)
def test_embedded(anywhere, scenario):
    run(scenario(anywhere[1], anywhere[1]))
