"""What a History does not take."""

import pytest

from mesh import History
from mesh.errors import ChannelError


@pytest.mark.parametrize("given", [{"except_events": None}, {"events": ("",)}])
def test_values_that_would_keep_nothing_or_fail_later_are_refused(given):
    with pytest.raises(ChannelError):
        History(**given)
