"""Serializers for transports that can send clients only text, such as long-poll. Pure."""

from typing import Any

from mesh.errors import EncodeError
from mesh.protocol.serializers.base import Frame, Serializer


class TextOnly:
    """Wraps a serializer: a message that it would encode as a binary frame cannot be sent."""

    def __init__(self, serializer: Serializer) -> None:
        self._serializer = serializer
        self.name = serializer.name
        self.carries_binary = False
        self.max_binary_field_bytes: int | None = None
        self.codec = serializer.codec
        self.binary_broadcasts_have_ref = serializer.binary_broadcasts_have_ref
        self.decode = serializer.decode
        self.encode_end = serializer.encode_end

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """Encode a `phx_reply`. Raises EncodeError if it is binary."""
        return _text(self._serializer.encode_reply(join_ref, ref, topic, status, codec, data))

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """Encode a push to one channel. Raises EncodeError if it is binary."""
        return _text(self._serializer.encode_push(join_ref, topic, event, codec, data))

    def encode_broadcast(
        self, topic: str, event: str, codec: int, data: bytes, ref: str | None = None
    ) -> Frame:
        """Encode a broadcast, the same bytes for every receiver. Raises EncodeError if it is binary."""
        return _text(self._serializer.encode_broadcast(topic, event, codec, data, ref))


def _text(frame: Frame) -> Frame:
    if frame.binary:
        raise EncodeError("this transport cannot carry bytes to a client")
    if not frame.data.isascii():
        try:
            str(frame.data, "utf-8")
        except UnicodeDecodeError as error:  # possible only for a serializer whose payloads are not checked
            raise EncodeError(f"the payload is not UTF-8: {error}") from None
    return frame
