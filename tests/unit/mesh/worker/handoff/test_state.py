"""mesh/worker/handoff/state.py: what a channel takes along."""

import msgspec
import pytest

from mesh.errors import ChannelError
from mesh.worker.handoff.state import HandoffState, TrackedPresence, pack, pack_assigns, unpack

STATE = HandoffState(
    {"n": 1, "bytes": b"\x00", "deep": [{"a": None}]},
    ("news:1",),
    (TrackedPresence("presence", "room:1", "u7", {"phx_ref": "a"}),),
    {"node": 41},
)


def test_what_is_packed_can_be_unpacked():
    assert unpack(pack("Room", STATE, 1_000)) == STATE


@pytest.mark.parametrize("state", [[1], "text", 7, True, {"a": object()}, {"a": {1, 2}, "b": object()}])
def test_a_state_that_cannot_be_carried_names_the_class(state):
    with pytest.raises(ChannelError, match=r"^Room\.snapshot returned"):
        pack("Room", HandoffState(state), 1_000)


def test_a_state_over_the_bound_names_size_and_bound():
    size = len(pack("Room", STATE, 1_000))
    assert pack("Room", STATE, size)
    with pytest.raises(ChannelError, match=rf"Room\.snapshot has {size} bytes; .* allows {size - 1}:"):
        pack("Room", STATE, size - 1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", msgspec.msgpack.encode({"a": 1}), msgspec.msgpack.encode([1]), b"\x91\x81\x01\x02"],
)
def test_what_is_no_handoff_state_is_an_error(data):
    with pytest.raises(ChannelError, match="cannot be decoded"):
        unpack(data)


def test_assigns_of_the_route_stay_at_home_unless_they_were_changed():
    service, tags = object(), ["a"]
    route = {"service": service, "tags": tags, "limit": 5}
    assigns = {"service": service, "tags": ["a"], "limit": 7, "user": "ana"}
    assert msgspec.msgpack.decode(pack_assigns("Room", assigns, route)) == {"limit": 7, "user": "ana"}
    assigns["tags"].append("b")
    assert msgspec.msgpack.decode(pack_assigns("Room", assigns, route))["tags"] == ["a", "b"]


def test_an_assign_that_cannot_be_carried_names_the_class():
    with pytest.raises(ChannelError, match="Room has assigns"):
        pack_assigns("Room", {"socket": object()}, {})
