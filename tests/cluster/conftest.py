"""Clusters of real processes."""

import pytest


@pytest.fixture
def apps(clusters):
    return clusters.apps()


@pytest.fixture
def conformance(clusters):
    return clusters.conformance()
