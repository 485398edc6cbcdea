"""V1: an object with exactly topic, event, payload, ref.

Source: Phoenix.Socket.V1.JSONSerializer. join_ref is never sent; in `phx_close` and `phx_error`, ref
contains it. The opcode is ignored: V1 JSON may also arrive in a binary frame.
"""

from typing import Any

import msgspec

from mesh.errors import DecodeError, EncodeError
from mesh.protocol.messages import JSON, REPLY, Message
from mesh.protocol.serializers import envelope as envelopes
from mesh.protocol.serializers.base import Frame

_encode = msgspec.json.Encoder().encode
_decode_payload = msgspec.json.Decoder().decode


class _Envelope(msgspec.Struct):
    """The four keys are required, join_ref is optional, others are ignored, as in Phoenix."""

    topic: Any
    event: Any
    payload: msgspec.Raw
    ref: Any
    join_ref: Any = None


_decode = msgspec.json.Decoder(_Envelope).decode


class V1JSON:
    """vsn ~> 1.0.0, and clients that send no vsn."""

    name = "v1_json"
    carries_binary = False
    max_binary_field_bytes: int | None = None
    codec = JSON
    binary_broadcasts_have_ref = False

    def decode(self, data: bytes, binary: bool) -> Message:
        """Decode one JSON object, regardless of the opcode."""
        try:
            envelope = _decode(data)
            payload = bytes(envelope.payload)
            value = _decode_payload(payload)  # only to check it, because Raw accepts numbers out of range
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise DecodeError(f"not a V1 message: {error}") from None
        envelopes.check_payload(payload, value)
        envelopes.check(envelope.join_ref, envelope.ref, envelope.topic, envelope.event)
        return Message(envelope.join_ref, envelope.ref, envelope.topic, envelope.event, JSON, payload)

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """Encode a `phx_reply`."""
        _require_json(codec)
        return _frame(topic, REPLY, b'{"status":%b,"response":%b}' % (_encode(status), data), ref)

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """Encode a push to one channel. V1 cannot express which join it belongs to."""
        _require_json(codec)
        return _frame(topic, event, data, None)

    def encode_broadcast(
        self, topic: str, event: str, codec: int, data: bytes, ref: str | None = None
    ) -> Frame:
        """Encode a broadcast."""
        _require_json(codec)
        return _frame(topic, event, data, ref)

    def encode_end(self, join_ref: Any, topic: str, event: str, data: bytes) -> Frame:
        """Encode `phx_close` or `phx_error`; ref is null unless the join contained a join_ref."""
        return _frame(topic, event, data, join_ref)


def _frame(topic: Any, event: str, payload: bytes, ref: Any) -> Frame:
    return Frame(
        b'{"topic":%b,"event":%b,"payload":%b,"ref":%b}'
        % (_encode(topic), _encode(event), payload, envelopes.encode_fields(ref)),
        False,
    )


def _require_json(codec: int) -> None:
    if codec != JSON:
        raise EncodeError("V1 clients cannot receive binary payloads; they must connect with vsn 2.0.0")
