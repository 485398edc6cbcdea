"""V2 in msgpack: the same five elements, as one msgpack array in a binary frame (`format=msgpack`).

Phoenix has no such format. A payload of msgpack type `bin` is a binary payload; any other is what JSON
would express. A payload that a JSON client sent is converted here, once for all msgpack clients.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import BINARY, JSON, MSGPACK, REPLY, Message
from mesh.protocol.serializers import envelope as envelopes
from mesh.protocol.serializers.base import Frame

_decode = msgspec.msgpack.Decoder(envelopes.V2).decode
_decode_payload = msgspec.msgpack.Decoder(ext_hook=lambda code, _: _no_extension(code)).decode
_decode_json = msgspec.json.Decoder().decode
_encode = msgspec.msgpack.Encoder().encode


class V2Msgpack:
    """vsn ~> 2.0.0, format=msgpack."""

    name = "v2_msgpack"
    carries_binary = True
    max_binary_field_bytes: int | None = None
    codec = MSGPACK
    binary_broadcasts_have_ref = True

    def decode(self, data: bytes, binary: bool) -> Message:
        """Decode a binary frame as a msgpack array."""
        if not binary:
            raise DecodeError("a text frame; with format=msgpack every message is a binary frame")
        try:
            envelope = _decode(data)
            raw = bytes(envelope.payload)
            payload = _decode_payload(raw)  # to check it, and to find out whether it is binary
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError) as error:
            raise DecodeError(f"not a V2 message in msgpack: {error}") from None
        envelopes.check(envelope.join_ref, envelope.ref, envelope.topic, envelope.event)
        fields = (envelope.join_ref, envelope.ref, envelope.topic, envelope.event)
        if isinstance(payload, bytes):
            return Message(*fields, BINARY, payload)
        envelopes.check_levels(payload)
        return Message(*fields, MSGPACK, raw)

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """Encode a `phx_reply`."""
        response = {"status": status, "response": _raw(codec, data)}
        try:
            return Frame(_encode((join_ref, ref, topic, REPLY, response)), True)
        except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
            raise EncodeError(f"a ref cannot be sent as msgpack: {error}") from None

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """Encode a push to one channel."""
        return Frame(_encode((join_ref, None, topic, event, _raw(codec, data))), True)

    def encode_broadcast(
        self, topic: str, event: str, codec: int, data: bytes, ref: str | None = None
    ) -> Frame:
        """Encode a broadcast, the same bytes for every receiver."""
        return Frame(_encode((None, ref, topic, event, _raw(codec, data))), True)

    def encode_end(self, join_ref: Any, topic: str, event: str, data: bytes) -> Frame:
        """Encode `phx_close` or `phx_error`."""
        return Frame(_encode((join_ref, join_ref, topic, event, _raw(JSON, data))), True)


def _raw(codec: int, data: bytes) -> Any:
    if codec == MSGPACK:
        return msgspec.Raw(data)
    if codec == BINARY:
        return data
    if codec != JSON:
        raise EncodeError(f"a payload of codec {codec} cannot be sent as msgpack")
    try:
        return msgspec.Raw(_encode(_decode_json(data)))
    except (msgspec.MsgspecError, RecursionError, OverflowError, UnicodeDecodeError) as error:
        raise EncodeError(f"a JSON payload cannot be sent as msgpack: {error}") from None


def _no_extension(code: int) -> Any:
    raise ValueError(f"msgpack extension type {code} has no counterpart in JSON")
