"""mesh/link/malformed.py: a command that cannot be read costs what it names, and no other command."""

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import WireError
from mesh.link import commands
from mesh.link.malformed import (
    MAX_COMMANDS,
    MAX_VALUES,
    Malformed,
    Unknown,
    _split,
    read_to_gateway,
    read_to_worker,
)

DEEP = b"\x91" * 100_000 + b"\x90"


def batch(*raw):
    return msgspec.msgpack.encode([msgspec.Raw(each) for each in raw])


def packed(command):
    return command if isinstance(command, bytes) else msgspec.msgpack.encode(command)


def reply(channel=7, after=0, ref="1", status="ok", codec=0, data=b"{}"):
    return [9, channel, after, ref, status, codec, data]


BEFORE, AFTER = commands.Pushed(1, 0, "e", 0, b"{}"), commands.Reply(2, 0, "1", "ok", 0, b"{}")


def read(command, decode=read_to_gateway, before=BEFORE, after=AFTER):
    """What the command in the middle is read as; those around it must not suffer."""
    first, it, last = decode(batch(packed(before), packed(command), packed(after)))
    assert (first, last) == (before, after)
    return it


@pytest.mark.parametrize(
    "command",
    [
        reply(data="text"),
        reply(status=7),
        reply(after=-1),
        reply(after=2**63),
        reply(after=2**64 - 1),
        reply(after="1"),
        reply(codec=3),
        reply(codec=-1),
        reply()[:-1],
        reply()[:2],
        b"\x97\x09\x07\x00" + DEEP + b"\xa2ok\x00\xc4\x02{}",
        b"\x97\x09\x07\x00\xa1\xff\xa2ok\x00\xc4\x02{}",
        [10, 7, 0, 5, 0, b""],
        [7, 7, [1], 0, 0, b""],
        [7, 7, "intercepts", 0, 0, b""],
        [7, 7, [], -1, 0, b""],
        [7, 7, [], 2**64 - 1, 0, b""],
        [8, 7],
        [12, 7, None],
        [16, 7, 0, "assigns", b""],
        [2, 7],
    ],
    ids=lambda command: repr(command)[:40],
)
def test_what_names_a_channel_costs_that_channel(command):
    it = read(command)
    assert (it.channels, it.topic) == ((7,), None)


@pytest.mark.parametrize(
    "command",
    [
        [3, 7, None, "e", 0, "text"],
        [3, 7],
        [2, 7, "/socket", "room:1"],
        [2, 7, "/socket", "room:1", None, None, "websocket", "v2_json", {}, 0, b"{}"],
        b"\x93\x04\x07" + DEEP,
        [10, 7, 0, "e", 0, b""],
    ],
    ids=lambda command: repr(command)[:40],
)
def test_it_is_the_same_on_the_workers_side(command):
    leave, replace = commands.Leave(1, "1"), commands.Replace(2)
    assert read(command, read_to_worker, leave, replace).channels == (7,)


def test_a_socket_that_is_down_names_many_and_a_broadcast_its_topic():
    leave, replace = commands.Leave(1, "1"), commands.Replace(2)
    assert read([6, [7, "x", 8], "closed"], read_to_worker, leave, replace).channels == (7, 8)
    it = read([14, "room:1", 0, "e", 0, "text"])
    assert (it.channels, it.topic, it.attributed) == ((), "room:1", True)


@pytest.mark.parametrize(
    "command",
    [
        5,
        None,
        {},
        [],
        ["x"],
        [9],
        [9, "7"],
        [9, True],
        [9, None],
        [14, 5, 0, "e", 0, b""],
        [19, 5],
        [1],
        [6, [], 5],
        [[9], 7],
        [{}, 7],
        [9.0, 7],
        [True, 7],
        [b"9", 7],
        [None, 7],
    ],
    ids=repr,
)
def test_what_names_nothing_is_not_attributed(command):
    it = read(command)
    assert type(it) is Malformed
    assert not it.attributed


def test_a_number_that_nobody_knows_is_told_apart():
    assert read([99, 7]) == Unknown(99)
    assert read([-1]) == Unknown(-1)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc2", b"\x80", b"\x05", b"\x91", b"\x90\x00", b"\xdd\xff\xff\xff\xff", b"\x91\xc1", DEEP[:-1],
     b"\x92" + DEEP, b"\x91" + DEEP + b"\x00"],
    ids=lambda data: repr(data[:8]),
)  # fmt: skip
def test_what_is_no_batch_is_an_error(data):
    for decode in (read_to_gateway, read_to_worker):
        with pytest.raises(WireError):
            decode(data)


def test_a_batch_of_more_commands_than_anybody_sends_is_not_taken_apart():
    with pytest.raises(WireError):
        read_to_gateway(msgspec.msgpack.encode([[13]] * MAX_COMMANDS + [[99]]))


@given(st.binary(max_size=60))
def test_garbage_is_an_error_or_a_list(data):
    for decode in (read_to_gateway, read_to_worker):
        try:
            assert type(decode(data)) is list
        except WireError:
            pass


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "x" * 31, "x" * 32, "x" * 256, "x" * 70_000, b"", b"x" * 256, b"x" * 70_000])
    | st.sampled_from([1, 2, 3, 4, 8, 16, 300, 70_000]).map(lambda size: msgpack.ExtType(3, b"x" * size)),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=3), inner, max_size=20),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=5))
def test_values_are_told_apart_without_recursion(values):
    pieces = _split(msgpack.packb(values), WireError("not a batch"))
    assert [msgpack.unpackb(piece) for piece in pieces] == values


def test_what_is_looked_at_one_by_one_is_bounded_for_a_batch_not_for_a_command():
    many = [6, list(range(MAX_VALUES // 4)), 5]
    read = read_to_worker(msgspec.msgpack.encode([many] * 10))
    assert [each.attributed for each in read] == [True] * 3 + [False] * 7
