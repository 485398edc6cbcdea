"""What a channel takes along to another worker, as bytes that only workers read.

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
    """What moves beside the assigns.

    Attributes:
        snapshot: what the channel's `snapshot` returned.
        subscriptions: other topics that the channel subscribed to.
        tracked: its presences.
        seen: of each origin the last broadcast to the channel's topic that its worker has heard lately.
    """

    snapshot: dict[str, Any]
    subscriptions: tuple[str, ...] = ()
    tracked: tuple[TrackedPresence, ...] = ()
    seen: dict[str, int] = {}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(HandoffState).decode


def pack(name: str, state: HandoffState, max_bytes: int) -> bytes:
    """As bytes.

    Args:
        name: of the Channel class, for the error.
        state: what moves.
        max_bytes: `worker.max_snapshot_bytes`.

    Raises:
        ChannelError: if the state is no dict, is too large or cannot be carried.
    """
    if not isinstance(state.snapshot, dict):
        raise ChannelError(
            f"{name}.snapshot returned {state.snapshot!r:.200}; expected a dict, or None not to move"
        )
    data = _packed(state, f"{name}.snapshot returned what msgpack cannot carry")
    if len(data) > max_bytes:
        raise ChannelError(
            f"{name}.snapshot makes {len(data)} bytes; worker.max_snapshot_bytes allows {max_bytes}:"
            " keep what is large elsewhere and move only its name"
        )
    return data


def unpack(data: bytes) -> HandoffState:
    """Read it. Raises ChannelError for anything else."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError(f"the state of a moved channel cannot be read: {error}") from None


def pack_assigns(name: str, assigns: Assigns, route: Mapping[str, Any]) -> bytes:
    """The assigns as bytes, without those that the route gives every channel anyway.

    Raises:
        ChannelError: if one of the others cannot be carried.
    """
    own = {key: value for key, value in assigns.items() if not _is(route, key, value)}
    return _packed(own, f"{name} has assigns that msgpack cannot carry")


def _is(route: Mapping[str, Any], key: str, value: Any) -> bool:
    """Whether it is what the route assigned; an object may have an equality of its own."""
    if key not in route:
        return False
    given = route[key]
    return given is value or (type(value) in (dict, list) and bool(given == value))


def _packed(value: Any, problem: str) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ChannelError(f"{problem}: {error}") from None
