"""Encodes messages for long-poll clients: each is a JSON string in the answer to a poll."""

import msgspec

from mesh.gateway.transports.base import Encoding
from mesh.protocol.serializers.base import Frame, Serializer
from mesh.protocol.serializers.registry import SERIALIZERS
from mesh.protocol.serializers.text_only import TextOnly

_encode_string = msgspec.json.Encoder().encode


def _ready(frame: Frame) -> bytes:
    """Return a message as a JSON string."""
    return _encode_string(frame.data.decode())


ENCODINGS: dict[Serializer, Encoding] = {
    each: Encoding(TextOnly(each), _ready) for each in SERIALIZERS.values()
}
