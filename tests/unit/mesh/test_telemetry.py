"""mesh/telemetry: every counter has a documented name."""

import pytest

from mesh.telemetry import COUNTERS
from mesh.telemetry.counters import Counters


def test_only_documented_names_can_be_counted():
    counters = Counters()
    counters.count("channels_crashed")
    counters.count("channels_crashed", 2)
    assert counters.value("channels_crashed") == 3
    assert counters.snapshot().keys() == COUNTERS.keys()
    with pytest.raises(KeyError):
        counters.count("no_such_count")
