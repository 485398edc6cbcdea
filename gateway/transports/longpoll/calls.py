"""The encoding of the calls between gateways about long-poll sessions, and of their answers.

A request may reach any gateway, which calls the gateway that holds the session over the bus
(mesh/bus/calls.py). Pure.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from mesh.errors import WireError

POLL, CANCEL, UNREAD = "longpoll.poll", "longpoll.cancel", "longpoll.unread"
POST = "longpoll.post"

encode = msgspec.msgpack.Encoder().encode
_polled = msgspec.msgpack.Decoder(list[bytes] | None).decode
_unread = msgspec.msgpack.Decoder(tuple[str, list[bytes]]).decode
_posted = msgspec.msgpack.Decoder(tuple[str, list[tuple[bytes, bool]]]).decode


def decode_polled(data: bytes) -> list[bytes] | None:
    """Decode the answer to POLL: messages, or None if the session has ended. Raises WireError."""
    messages: list[bytes] | None = _read(_polled, data)
    return messages


def decode_unread(data: bytes) -> tuple[str, list[bytes]]:
    """Decode UNREAD: (session id, the undelivered messages). Raises WireError."""
    question: tuple[str, list[bytes]] = _read(_unread, data)
    return question


def decode_post(data: bytes) -> tuple[str, list[tuple[bytes, bool]]]:
    """Decode POST: (session id, the client's messages and whether each is binary). Raises WireError."""
    question: tuple[str, list[tuple[bytes, bool]]] = _read(_posted, data)
    return question


def decode_status(data: bytes) -> int:
    """Decode the answer to POST: the status for the client. Raises WireError."""
    if not data.isdigit() or len(data) > 3:
        raise WireError(f"{data[:16]!r} is not a status")
    return int(data)


def _read(decode: Callable[[bytes], Any], data: bytes) -> Any:
    try:
        return decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not a question or answer about a long-poll session: {error}") from None
