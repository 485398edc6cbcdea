"""Turns the body of a publishing request into messages ready for the bus, or an error.

All messages of a request are checked before any is published.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from mesh.app import topics
from mesh.errors import MeshError, RemoteProtocolError
from mesh.protocol import payloads
from mesh.protocol.messages import DISCONNECT, check_event
from mesh.telemetry import shorten


class RequestError(RemoteProtocolError):
    """The request cannot be carried out; `status` is the HTTP status it is answered with."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ReadyMessage(NamedTuple):
    """A checked message, ready to be published."""

    topic: str
    event: str
    codec: int
    data: bytes


class _Message(msgspec.Struct, forbid_unknown_fields=True):
    topic: str
    event: str
    payload: dict[str, Any]


class _Batch(msgspec.Struct, forbid_unknown_fields=True):
    messages: list[msgspec.Raw]


class _Disconnect(msgspec.Struct, forbid_unknown_fields=True):
    socket_id: str


_message = msgspec.json.Decoder(_Message).decode
_batch = msgspec.json.Decoder(_Batch).decode
_disconnect = msgspec.json.Decoder(_Disconnect).decode


def broadcast(body: bytes, max_messages: int) -> list[ReadyMessage]:
    """Parse `{"topic", "event", "payload"}`. Raises RequestError."""
    del max_messages
    return [_ready(body, "")]


def broadcast_batch(body: bytes, max_messages: int) -> list[ReadyMessage]:
    """Parse `{"messages": [{"topic", "event", "payload"}, …]}`. Raises RequestError."""
    messages = _decode(_batch, body, "").messages
    if not messages:
        raise RequestError(400, "messages is empty")
    if len(messages) > max_messages:
        raise RequestError(413, f"{len(messages)} messages; at most {max_messages} in one request")
    return [_ready(bytes(each), f"messages[{number}]: ") for number, each in enumerate(messages)]


def disconnect(body: bytes, max_messages: int) -> list[ReadyMessage]:
    """Parse `{"socket_id"}`. Raises RequestError."""
    del max_messages
    message = _Message(_decode(_disconnect, body, "").socket_id, DISCONNECT, {})
    return [_check(message, "", "socket_id")]


Action = Callable[[bytes, int], list[ReadyMessage]]
ACTIONS: dict[str, Action] = {
    "broadcast": broadcast,
    "broadcast_batch": broadcast_batch,
    "disconnect": disconnect,
}
"""By the last segment of the request's path."""


def _ready(data: bytes, where: str) -> ReadyMessage:
    return _check(_decode(_message, data, where), where, "topic")


def _check(message: _Message, where: str, name: str) -> ReadyMessage:
    try:
        if not message.topic:
            raise RequestError(400, f"{name} is empty")
        codec, data = payloads.encode_object(message.payload)
        return ReadyMessage(topics.check(message.topic), check_event(message.event), codec, data)
    except MeshError as error:
        raise RequestError(400, f"{where}{error}") from None


def _decode(decode: Callable[[bytes], Any], data: bytes, where: str) -> Any:
    try:
        return decode(data)
    except msgspec.ValidationError as error:
        raise RequestError(400, f"{where}{_without_root(shorten(str(error)))}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RequestError(400, f"{where}the body is not JSON: {shorten(str(error))}") from None
    except RecursionError:
        raise RequestError(400, f"{where}the payload is nested too deeply") from None


def _without_root(reason: str) -> str:
    """Return msgspec's message without `$`, its name for the root value."""
    return reason.replace(" - at `$.", " - at `").replace("`", "'")
