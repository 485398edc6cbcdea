"""The contract of a serializer. Source: Phoenix.Socket.Serializer.

v2 = V2JSON()
message = v2.decode(b'["1","1","room:1","phx_join",{}]', binary=False)
frame = v2.encode_reply("1", "1", "room:1", "ok", JSON, b"{}")
assert frame == Frame(b'["1","1","room:1","phx_reply",{"status":"ok","response":{}}]', False)
"""

from typing import Any, NamedTuple, Protocol

from mesh.protocol.messages import Message


class Frame(NamedTuple):
    """One message, as a transport sends it."""

    data: bytes
    binary: bool
    """Whether it is sent as a binary message; otherwise as UTF-8 text."""


class Serializer(Protocol):
    """One version of the client protocol. Stateless: one instance serves all connections.

    Payloads are passed encoded, as (codec, data). Every `encode_*` raises EncodeError for what the protocol
    version cannot express; the caller skips, counts and logs that message.
    """

    name: str
    carries_binary: bool
    """Whether payloads of codec BINARY can be expressed."""
    max_binary_field_bytes: int | None
    """The limit of a topic, event or status beside a BINARY payload; None for no limit."""
    codec: int
    """The codec in which clients receive payloads other than bytes: JSON or MSGPACK."""
    binary_broadcasts_have_ref: bool
    """Whether a broadcast with a BINARY payload can have a ref."""

    def decode(self, data: bytes, binary: bool) -> Message:
        """Decode one message of a client. Raises DecodeError for anything else."""

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """Encode a `phx_reply` with `{"status", "response"}`."""

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """Encode a push to one client, with the channel's join_ref and no ref."""

    def encode_broadcast(
        self, topic: str, event: str, codec: int, data: bytes, ref: str | None = None
    ) -> Frame:
        """Encode a broadcast, without join_ref, the same for all receivers.

        `ref` is the position of a kept broadcast, for clients that asked for positions. It is left out of a
        binary broadcast if `binary_broadcasts_have_ref` is false.
        """

    def encode_end(self, join_ref: Any, topic: str, event: str, data: bytes) -> Frame:
        """Encode `phx_close` or `phx_error`, with ref equal to join_ref."""
