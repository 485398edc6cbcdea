"""Clusters of real processes."""

import pytest


@pytest.fixture
def running(clusters):
    """The cluster of a file's tests, unless the file defines another."""
    return clusters.conformance()


@pytest.fixture
def apps(clusters):
    return clusters.apps()


@pytest.fixture
def conformance(clusters):
    return clusters.conformance()
