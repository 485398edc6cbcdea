"""Clusters of real processes."""

import pytest

from tests.support.processes import ORDER, cluster


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), "tests.support.apps:endpoint", env=ORDER) as running:
        yield running


@pytest.fixture(scope="module")
def conformance(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), "examples.conformance:endpoint") as running:
        yield running
