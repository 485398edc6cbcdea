"""Messages and entries that cannot be read, shown or encoded."""

import asyncio
import datetime

import msgspec
import pytest

from mesh.telemetry import counters
from mesh.tracker import messages
from mesh.tracker.messages import Gossip, Transfer
from mesh.tracker.state import Delta, Entry
from tests.unit.mesh.tracker.nodes import SETTINGS, Node, world


def test_a_malformed_message_is_counted_and_ignored():
    async def scenario(network, a, b):
        before = counters.value("bus_messages_malformed")
        for data in (b"", b"\xc1", b"\x90", b"\x94\x00\x63\x00\xc0", b"\x92\x00"):
            a.tracker.handle("b", data)
        assert counters.value("bus_messages_malformed") == before + 5

    world(scenario, "ab")


DEEP = msgspec.msgpack.decode(b"\x81\xa1a" + 900 * b"\x91" + b"\xc0")


UNUSABLE = [
    ("t", "bo", {"a": msgspec.msgpack.Ext(5, b"x")}),
    ("t", "bo", {"a": {"b": [msgspec.msgpack.Ext(5, b"x")]}}),
    ("t", "bo", {"a": b"bytes"}),
    ("t", "bo", {"a": float("nan")}),
    ("t", "bo", {"a": {1: 2}}),
    ("t", "bo", {"a": {None: 2}}),
    ("t", "bo", {"a": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)}),
    ("t", "bo", DEEP),
    ("t", "bo", {"a": 30_000 * "x"}),
    ("t", 2_000 * "x", {}),
    ("$nodes", "bo", {}),
    (5_000 * "x", "bo", {}),
]


@pytest.mark.parametrize("entry", UNUSABLE, ids=range(len(UNUSABLE)))
@pytest.mark.parametrize("message", [Gossip, Transfer])
def test_an_entry_that_clients_cannot_receive_is_left_out_alone(entry, message):
    async def scenario(network, a):
        delta = Delta(0, 2, (Entry(1, *entry), Entry(2, "t", "ana", {"n": 2**64 - 1, "phx_ref": "r"})))
        before = counters.value("bus_messages_malformed")
        a.tracker.handle("b", messages.encode(Gossip(messages.VERSION, 0)))
        said = Transfer(delta) if message is Transfer else Gossip(messages.VERSION, 2, delta)
        a.tracker.handle("b", messages.encode(said))
        assert a.here() == {"ana": [2**64 - 1]}
        if entry[0] != "t":
            assert a.here(entry[0]) == {}
        assert counters.value("bus_messages_malformed") == before + 1
        a.tracker.handle("b", messages.encode(Gossip(messages.VERSION, 3, Delta(2, 3, removed=(1,)))))
        a.tracker.handle("b", messages.encode(Gossip(messages.VERSION, 4, Delta(3, 4, removed=(2,)))))
        assert a.here() == {}

    world(scenario, "a")


UNENCODABLE = [10**30, object(), "\ud800"]


@pytest.mark.parametrize("value", UNENCODABLE, ids=["integer", "object", "text"])
def test_an_entry_that_cannot_be_encoded_does_not_hold_back_others(value, log_lines):
    async def scenario(network, a, b):
        before = counters.value("presence_diffs_unencodable")
        a.tracker.track("one", "t", "ana", {"n": 1})
        a.tracker.track("two", "t", "bad", {"n": value})
        a.tracker.track("three", "t", "bo", {"n": 3})
        await asyncio.sleep(0.2)
        assert b.here() == {"ana": [1], "bo": [3]}
        c = Node(network, "c")  # which asks for everything
        a.tracker.update("one", "t", "ana", lambda meta: {"n": 4})
        await asyncio.sleep(3 * SETTINGS.down_seconds)
        assert b.here() == c.here() == {"ana": [4], "bo": [3]}
        a.tracker.untrack_all("two")
        await asyncio.sleep(0.2)
        assert a.here() == b.here() == {"ana": [4], "bo": [3]}
        assert counters.value("presence_diffs_unencodable") == before + 1
        c.tracker.close()

    world(scenario, "ab")
    said = [fields["key"] for _, _, event, fields in log_lines if "cannot be sent" in event]
    assert said == ["bad"]


def test_repeated_malformed_messages_are_logged_rarely(log_lines):
    async def scenario(network, a):
        for _ in range(1_000):
            a.tracker.handle("who sends garbage", b"\xc1")
            a.tracker.handle("who sends bytes", messages.encode(
                Gossip(messages.VERSION, 1, Delta(0, 1, (Entry(1, "t", "ana", {"a": b"x"}),)))
            ))  # fmt: skip

    world(scenario, "a")
    said = [fields["origin"] for _, _, event, fields in log_lines if "dropped" in event]
    assert sorted(said) == ["who sends bytes"] * 4 + ["who sends garbage"] * 4
