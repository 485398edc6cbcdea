"""The contract of a serializer. Source: Phoenix.Socket.Serializer.

v2 = V2JSON()
message = v2.decode(b'["1","1","room:1","phx_join",{}]', binary=False)
frame = v2.encode_reply("1", "1", "room:1", "ok", JSON, b"{}")
assert frame == Frame(b'["1","1","room:1","phx_reply",{"status":"ok","response":{}}]', False)
"""

from typing import Any, NamedTuple, Protocol

from mesh.messages import Message


class Frame(NamedTuple):
    """One message as a transport sends it."""

    data: bytes
    binary: bool
    """Whether it goes out as a binary message; else as UTF-8 text."""


class Serializer(Protocol):
    """One client protocol version. Stateless: one instance serves all connections.

    Payloads come and go encoded, as (codec, data). Every `encode_*` raises EncodeError for what the
    protocol version cannot express; the caller skips, counts and logs that message.
    """

    name: str
    carries_binary: bool
    """Whether payloads of codec BINARY can be expressed at all."""

    def decode(self, data: bytes, binary: bool) -> Message:
        """Read one message of a client; raises DecodeError for anything else."""

    def encode_reply(
        self, join_ref: Any, ref: Any, topic: Any, status: str, codec: int, data: bytes
    ) -> Frame:
        """A `phx_reply` with `{"status", "response"}`."""

    def encode_push(self, join_ref: Any, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """A push to one client: carries the channel's join_ref, and no ref."""

    def encode_broadcast(self, topic: str, event: str, codec: int, data: bytes) -> Frame:
        """A broadcast: neither join_ref nor ref, equal for all receivers."""

    def encode_end(self, join_ref: Any, topic: str, event: str, data: bytes) -> Frame:
        """`phx_close` or `phx_error`: ref equals join_ref."""
