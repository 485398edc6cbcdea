"""mesh/protocol/versions.py: the highest version that all speak."""

import pytest

from mesh.protocol.versions import Versions, common


@pytest.mark.parametrize(
    ("sides", "chosen"),
    [([(1, 1)], 1), ([(1, 1), (1, 3)], 1), ([(1, 2), (2, 3)], 2), ([(1, 1), (2, 3)], None),
     ([(1, 5), (2, 4), (3, 3)], 3), ([(1, 5), (2, 2), (3, 3)], None)],
)  # fmt: skip
def test_the_highest_that_all_speak(sides, chosen):
    assert common(Versions(*each) for each in sides) == chosen


def test_a_range_reads_well_in_a_log():
    assert (str(Versions(1, 1)), str(Versions(1, 3))) == ("1", "1 to 3")
