"""The state of a channel that moves to another worker, as bytes that only workers decode.

Source: docs/protocol.md §3.2. Pure.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mesh.errors import ChannelError

Assigns = dict[str, Any]


class TrackedPresence(NamedTuple):
    """One presence of the channel."""

    presence: str
    topic: str
    key: str
    meta: dict[str, Any]


class HandoffState(msgspec.Struct, array_like=True, frozen=True):
    """What a channel takes along besides its assigns.

    Attributes:
        snapshot: the result of the channel's `snapshot`.
        subscriptions: the other topics that the channel subscribed to.
        tracked: its presences.
        seen: for each origin, the number of the last broadcast to the channel's topic that its old worker
            had recently received.
    """

    snapshot: dict[str, Any]
    subscriptions: tuple[str, ...] = ()
    tracked: tuple[TrackedPresence, ...] = ()
    seen: dict[str, int] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HandoffState).decode


def pack(name: str, state: HandoffState, max_bytes: int) -> bytes:
    """Encode the state.

    Args:
        name: the name of the Channel class, for the error.
        state: the state of the channel.
        max_bytes: `worker.max_snapshot_bytes`.

    Raises:
        ChannelError: if the snapshot is not a dict, is too large, or contains values that msgpack cannot
        express.
    """
    if not isinstance(state.snapshot, dict):
        raise ChannelError(
            f"{name}.snapshot returned {state.snapshot!r:.200}; expected a dict, or None not to move"
        )
    data = _encode_or_raise(state, f"{name}.snapshot returned a value that msgpack cannot express")
    if len(data) > max_bytes:
        raise ChannelError(
            f"{name}.snapshot has {len(data)} bytes; worker.max_snapshot_bytes allows {max_bytes}:"
            " store large values elsewhere and move only their keys"
        )
    return data


def unpack(data: bytes) -> HandoffState:
    """Decode the state. Raises ChannelError for anything else."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"the state of a moved channel cannot be decoded: {error}") from None


def pack_assigns(name: str, assigns: Assigns, route: Mapping[str, Any]) -> bytes:
    """Encode the assigns, except those that the route gives to every channel.

    Raises:
        ChannelError: if one of them contains values that msgpack cannot express.
    """
    own = {key: value for key, value in assigns.items() if not _is_assigned_by_route(route, key, value)}
    return _encode_or_raise(own, f"{name} has assigns that msgpack cannot express")


def _is_assigned_by_route(route: Mapping[str, Any], key: str, value: Any) -> bool:
    """Return whether the value is the one that the route assigned.

    Objects are compared by identity, because they may define equality differently.
    """
    if key not in route:
        return False
    given = route[key]
    return given is value or (type(value) in (dict, list) and bool(given == value))


def _encode_or_raise(value: Any, problem: str) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ChannelError(f"{problem}: {error}") from None
