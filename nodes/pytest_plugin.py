"""The pytest plugin: a fixture `channel_case`, for the endpoint of your fixture `mesh_endpoint`.

It is loaded in every test run where Channelmesh is installed, so it imports the rest of Channelmesh only
when used.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from mesh.app.endpoint import Endpoint
    from mesh.testing import ChannelCase


@pytest.fixture
def mesh_endpoint() -> "Endpoint":
    """The application under test: define a fixture of this name in your conftest.py."""
    pytest.fail(
        "channel_case needs your endpoint; define in conftest.py:\n\n"
        "@pytest.fixture\ndef mesh_endpoint():\n    return endpoint",
        pytrace=False,
    )


@pytest.fixture
def channel_case(mesh_endpoint: "Endpoint") -> Iterator["ChannelCase"]:
    """A ChannelCase for `mesh_endpoint`, closed after the test."""
    from mesh.testing import ChannelCase

    case = ChannelCase(mesh_endpoint)
    try:
        yield case
    finally:
        case.close()
