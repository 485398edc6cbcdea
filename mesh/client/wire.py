"""The client's side of the V2 protocol: messages of five elements, as JSON or msgpack."""

from typing import Any, Literal, NamedTuple

import msgspec

from mesh.client.actions import Send
from mesh.client.events import Received
from mesh.errors import DecodeError
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, JSON, MSGPACK, REPLY, check_name
from mesh.protocol.serializers import binary as binary_frames
from mesh.protocol.serializers.base import Frame

Format = Literal["json", "msgpack"]

_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder(list[Any]).decode
_encode_msgpack = msgspec.msgpack.Encoder().encode
_decode_msgpack = msgspec.msgpack.Decoder(list[Any]).decode


class Prepared(NamedTuple):
    """An encoded payload."""

    codec: int
    data: bytes


def prepare(format: Format, topic: str, event: str, payload: Any) -> Prepared:
    """Encode a payload now, for a message that may be sent later.

    Raises:
        ChannelError: if the event is not text.
        PayloadError: if the payload is neither JSON nor bytes, or has more than 8,000,000 bytes.
        EncodeError: if the payload is bytes, and the topic or event has more than 255 bytes.
    """
    check_name(event, "event")
    codec, data = payloads.encode(payload, MSGPACK if format == "msgpack" else JSON)
    if codec == BINARY and format == "json":
        binary_frames.encode_client_push("", "", topic, event, b"")
    return Prepared(codec, data)


def encode(format: Format, message: Send) -> Frame:
    """Encode a message for the server; its payload may already be prepared. Raises as `prepare`."""
    join_ref, ref, topic, event, payload = message
    if not isinstance(payload, Prepared):
        payload = prepare(format, topic, event, payload)
    codec, data = payload
    if format == "msgpack":
        body = data if codec == BINARY else msgspec.Raw(data)
        return Frame(_encode_msgpack((join_ref, ref, topic, event, body)), True)
    if codec == BINARY:
        return Frame(binary_frames.encode_client_push(join_ref, ref, topic, event, data), True)
    head = _encode_json((join_ref, ref, topic, event))
    return Frame(b"%b,%b]" % (head[:-1], data), False)


def decode(format: Format, frame: Frame) -> Received:
    """Decode a message from the server.

    Raises:
        DecodeError: if it is malformed.
    """
    if format == "json" and frame.binary:
        return _from_binary(frame.data)
    if frame.binary is not (format == "msgpack"):
        raise DecodeError("a text message; with format=msgpack the server sends binary messages")
    read = _decode_msgpack if format == "msgpack" else _decode_json
    try:
        elements = read(frame.data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"not a V2 message: {error}") from None
    if len(elements) < 5:
        raise DecodeError(f"a V2 message has five elements; this one has {len(elements)}")
    return Received(*elements[:5])


def _from_binary(data: bytes) -> Received:
    kind, fields, payload = binary_frames.decode_server(data)
    if kind == binary_frames.REPLY:
        join_ref, ref, topic, status = fields
        reply = {"status": status, "response": payload}
        return Received(join_ref or None, ref or None, topic, REPLY, reply)
    if kind == binary_frames.BROADCAST:
        topic, event = fields
        return Received(None, None, topic, event, payload)
    join_ref, topic, event = fields
    return Received(join_ref or None, None, topic, event, payload)
