"""V2: `[join_ref, ref, topic, event, payload]` in text frames, binary payloads in binary frames.

Source: Phoenix.Socket.V2.JSONSerializer, and bytes captured in its tests. A client's payload is decoded
once, to check it; what is passed on are the client's own bytes. Payloads to clients are inserted unchanged.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import BINARY, JSON, REPLY, Message
from mesh.protocol.serializers import binary as binary_frames
from mesh.protocol.serializers import envelope as envelopes
from mesh.protocol.serializers.base import Frame

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(envelopes.V2).decode
_decode_payload = msgspec.json.Decoder().decode


class V2JSON:
    """vsn ~> 2.0.0."""

    name = "v2_json"
    carries_binary = True
    max_binary_field_bytes: int | None = binary_frames.FIELD_BYTES
    codec = JSON
    binary_broadcasts_have_ref = False

    def decode(self, data: bytes, binary: bool) -> Message:
        """Decode a text frame as JSON, and a binary frame as a binary push."""
        if binary:
            return binary_frames.decode_push(data)
        try:
            envelope = _decode(data)
            payload = bytes(envelope.payload)
            # Raw does not check the range of numbers. A number out of range must end the connection (1011),
            # so it has to be detected before the payload is passed on.
            value = _decode_payload(payload)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(f"not a V2 message: {error}") from None
        envelopes.check_payload(payload, value)
        envelopes.check(envelope.join_ref, envelope.ref, envelope.topic, envelope.event)
        return Message(envelope.join_ref, envelope.ref, envelope.topic, envelope.event, JSON, payload)

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """Encode a `phx_reply`, in a binary frame if the response is binary."""
        if codec == BINARY:
            return Frame(binary_frames.encode_reply(join_ref, ref, topic, status, data), True)
        _require_json(codec)
        head = envelopes.encode_fields((join_ref, ref, topic, REPLY))
        return Frame(b'%b,{"status":%b,"response":%b}]' % (head[:-1], _encode(status), data), False)

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """Encode a push to one channel."""
        if codec == BINARY:
            return Frame(binary_frames.encode_push(join_ref, topic, event, data), True)
        _require_json(codec)
        head = _encode((join_ref, None, topic, event))
        return Frame(b"%b,%b]" % (head[:-1], data), False)

    def encode_broadcast(
        self, topic: str, event: str, codec: int, data: bytes, ref: str | None = None
    ) -> Frame:
        """Encode a broadcast, the same bytes for every receiver; a binary one without the ref."""
        if codec == BINARY:
            return Frame(binary_frames.encode_broadcast(topic, event, data), True)
        _require_json(codec)
        if ref is None:
            return Frame(b"[null,null,%b,%b,%b]" % (_encode(topic), _encode(event), data), False)
        head = _encode((None, ref, topic, event))
        return Frame(b"%b,%b]" % (head[:-1], data), False)

    def encode_end(self, join_ref: Any, topic: str, event: str, data: bytes) -> Frame:
        """Encode `phx_close` or `phx_error`."""
        head = _encode((join_ref, join_ref, topic, event))
        return Frame(b"%b,%b]" % (head[:-1], data), False)


def _require_json(codec: int) -> None:
    if codec != JSON:
        raise EncodeError(f"a payload of codec {codec} cannot be sent as V2 JSON")
