"""vsn: a full semantic version that matches ~> 1.0.0 or ~> 2.0.0; and the contract of each serializer."""

import pytest

from mesh.errors import RemoteProtocolError
from mesh.protocol.serializers.registry import (
    BY_NAME,
    DEFAULT_VSN,
    SERIALIZERS,
    TEXT_TRANSPORTS,
    client_serializer,
    negotiate,
)
from mesh.protocol.serializers.text_only import TextOnly
from tests.contract.serializer_contract import SerializerContract


@pytest.mark.parametrize("serializer", SERIALIZERS.values(), ids=lambda each: each.name)
class TestEverySerializer(SerializerContract):
    pass


@pytest.mark.parametrize(
    "serializer", [TextOnly(each) for each in SERIALIZERS.values()], ids=lambda each: each.name
)
class TestEveryTextOnlySerializer(SerializerContract):
    pass


def test_a_client_of_a_text_transport_is_not_sent_bytes():
    for name, serializer in BY_NAME.items():
        assert client_serializer(name, "websocket") is serializer
        assert client_serializer(name, "a transport of the application") is serializer
        for transport in TEXT_TRANSPORTS:
            limited = client_serializer(name, transport)
            assert (limited.name, limited.codec, limited.carries_binary) == (name, serializer.codec, False)


def test_a_serializer_of_a_later_gateway_is_taken_for_v2_json():
    assert client_serializer("a later one", "websocket") is BY_NAME["v2_json"]
    assert not client_serializer("a later one", "longpoll").carries_binary


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
