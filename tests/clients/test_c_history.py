"""clients/c on a topic with a history, against a gateway that says what the test wants."""

import pytest

from tests.support.c_client import INVALID, NOT_JSON, driver
from tests.support.history_gateway import EPOCH, OTHER, HistoryGateway


@pytest.fixture
def gateway():
    made = HistoryGateway()
    yield made
    made.close()


@pytest.fixture
def client(driver_program, gateway):
    with driver(driver_program, gateway.address) as made:
        made.ok("connect")
        gateway.opened()
        yield made


def at(offset, epoch=EPOCH):
    return {"epoch": epoch, "offset": offset}


def position(client):
    """The position that the client has now, or None."""
    client.ok("position")
    known, epoch, offset = client.next("position")
    return (epoch, int(offset)) if known == "1" else None


def numbers(client, gateway, offset, epoch=EPOCH):
    """Let one come that is not kept; returns what came before it."""
    gateway.not_kept(0)
    seen = []
    while (n := client.event("room:1", "new_msg")["n"]) != 0:
        seen.append(n)
    assert position(client) == (epoch, offset)
    return seen


@pytest.mark.parametrize(
    ("payload", "start", "asked"),
    [
        ("{}", [0], {"history": {}}),
        ('{"nick":"ann"}', [0], {"nick": "ann", "history": {}}),
        (' { "history" : 1 } ', [50], {"history": {"last": 50}}),
        ("{}", [50, EPOCH, 7], {"history": at(7)}),
        ("{}", [0, "a" * 64, 2**53], {"history": at(2**53, "a" * 64)}),
    ],
)
def test_the_first_join_asks_for_positions_for_the_newest_or_from_a_stored_position(
    client, gateway, payload, start, asked
):
    client.ok("history", "room:1", payload, *start)
    assert gateway.answer(2**53) == asked


def test_each_broadcast_comes_once_in_order_through_cuts(client, gateway):
    client.ok("history", "room:1", '{"nick":"ann"}', 2)
    join_ref, payload = gateway.join()
    assert payload == {"nick": "ann", "history": {"last": 2}}
    assert position(client) is None
    gateway.accept(join_ref)
    gateway.state(join_ref, 2, count=2)
    gateway.broadcast(1, 2, 3)
    assert numbers(client, gateway, 3) == [1, 2, 3]
    for cut in range(2):
        gateway.cut()
        assert gateway.answer(6, count=3) == {"nick": "ann", "history": at(3)}, cut
    gateway.broadcast(4, 5)
    assert numbers(client, gateway, 5) == [4, 5]
    gateway.cut()
    assert gateway.answer(6, count=1)["history"] == at(5)
    gateway.broadcast(6, 6, 5, 7)
    assert numbers(client, gateway, 7) == [6, 7]
    gateway.broadcast(7, epoch=OTHER)
    assert numbers(client, gateway, 7, OTHER) == [7]
    assert client.reports("gap") == []


def test_a_gap_is_told_with_the_position_that_follows(client, gateway):
    client.ok("history", "room:1", "{}", 0)
    gateway.answer(0, recovered=False, epoch="")
    assert numbers(client, gateway, 0, "") == []
    assert client.reports("gap") == [], "it had no position"
    gateway.cut()
    assert gateway.answer(2, recovered=False, epoch=OTHER) == {"history": at(0, "")}
    assert client.next("gap", "room:1") == [OTHER, "2"]
    gateway.broadcast(2, 3, epoch=OTHER)
    assert numbers(client, gateway, 3, OTHER) == [3]


def test_broadcasts_of_an_earlier_join_come_again_with_the_answer(client, gateway):
    client.ok("history", "room:1", "{}", 0)
    gateway.answer(1)
    gateway.cut()
    join_ref, _ = gateway.join()
    gateway.broadcast(9)
    assert numbers(client, gateway, 1) == []
    gateway.accept(join_ref)
    gateway.state(join_ref, 9, count=8)
    gateway.broadcast(*range(2, 10))
    assert numbers(client, gateway, 9) == list(range(2, 10))


def test_the_position_of_a_binary_broadcast_counts_when_that_has_arrived(client, gateway):
    client.ok("history", "room:1", "{}", 0)
    gateway.answer(1)
    gateway.announce(2, "frame")
    gateway.cut()
    assert gateway.answer(2, count=1)["history"] == at(1)
    gateway.announce(2, "frame")
    gateway.binary("frame", b"\x02")
    gateway.announce(2, "frame")
    gateway.binary("frame", b"\x02")
    gateway.announce(3, "frame")
    assert numbers(client, gateway, 2) == []
    gateway.binary("frame", b"\x03")
    assert numbers(client, gateway, 2) == [], "it was announced for the next broadcast only"
    assert [report[-1] for report in client.reports("event") if report[1] == "frame"] == ["02", "03"]


def test_ones_own_broadcast_moves_the_position_and_events_of_the_history_are_not_told(client, gateway):
    client.ok("history", "room:1", "{}", 0)
    gateway.answer(1)
    gateway.own(2)
    assert numbers(client, gateway, 2) == []
    assert {report[1] for report in client.reports("event")} == {"new_msg"}


def test_a_later_join_goes_on_from_the_position(client, gateway):
    client.ok("history", "room:1", "{}", 0)
    gateway.answer(1)
    gateway.broadcast(2)
    assert numbers(client, gateway, 2) == [2]
    client.ok("leave", "room:1")
    gateway.reply(gateway.message())
    client.next("close", "room:1")
    client.ok("history", "room:1", "{}")
    assert gateway.answer(2) == {"history": at(2)}


def test_malformed_positions_change_nothing(client, gateway):
    client.ok("history", "room:1", "{}", 0)
    gateway.answer(1)
    for payload in (
        '{"epoch":"K","offset":5}',
        '{"epoch":1,"offset":5}',
        '{"epoch":"k","offset":-5}',
        "null",
    ):
        gateway.text(f'[null,null,"room:1","history_position",{payload}]')
        gateway.text(f'[null,null,"room:1","history_state",{payload}]')
    for n, ref in enumerate(
        ('"k:"', '":5"', '"k3:5x"', '"k3:99999999999999999"', "5", '"7"', '"k3\\u003a5"'), 1
    ):
        gateway.text(f'[null,{ref},"room:1","new_msg",{{"n":{n}}}]')
    assert numbers(client, gateway, 1) == [1, 2, 3, 4, 5, 6, 7]


def test_what_cannot_work_is_refused(client):
    assert client.do("history", "room:1", "[1]", 0)[0] == NOT_JSON
    assert client.do("history", "room:1", "{}", 0, "no epoch", 1)[0] == INVALID
