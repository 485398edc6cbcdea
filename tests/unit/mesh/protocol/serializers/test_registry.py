"""vsn: a full semantic version that matches ~> 1.0.0 or ~> 2.0.0; and the contract of each serializer."""

import pytest

from mesh.errors import RemoteProtocolError
from mesh.protocol.serializers.registry import DEFAULT_VSN, SERIALIZERS, negotiate
from tests.contract.serializer_contract import SerializerContract


@pytest.mark.parametrize("serializer", SERIALIZERS.values(), ids=lambda each: each.name)
class TestEverySerializer(SerializerContract):
    pass


@pytest.mark.parametrize(
    ("vsn", "name"),
    [
        (DEFAULT_VSN, "v1_json"),
        ("1.0.0", "v1_json"),
        ("1.0.7", "v1_json"),
        ("2.0.0", "v2_json"),
        ("2.0.9", "v2_json"),
        ("2.0.0+build", "v2_json"),
        ("2.0.1-rc.1", "v2_json"),
    ],
)
def test_versions_that_are_spoken(vsn, name):
    assert negotiate(vsn).name == name


@pytest.mark.parametrize(
    "vsn",
    ["", "2", "2.0", "1.1.0", "2.1.0", "3.0.0", "2.0.0-rc.1", "v2.0.0", "2.0.0\n", "02.0.0", "2.0.0 ", "2.0.0-", "٢.0.0",
     None, ["2.0.0"], {"a": "b"}],
)  # fmt: skip
def test_versions_that_are_not(vsn):
    with pytest.raises(RemoteProtocolError, match="vsn"):
        negotiate(vsn)
