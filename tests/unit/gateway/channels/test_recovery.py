"""gateway/channels/recovery.py and recovery_commands.py: what a client that was away receives, in which order."""

import pytest

from mesh.gateway.transports.base import Encoding
from mesh.link.commands import Closed, Crashed, Moved, Moving, SocketDown
from mesh.protocol.messages import BINARY, Sender
from mesh.protocol.serializers.text_only import TextOnly
from mesh.protocol.serializers.v2_json import V2JSON
from mesh.telemetry import counters
from tests.support.hub import WORKER
from tests.support.recorded import ELSEWHERE, EPOCH, at, scenario

REPLY, STATE = ("1", "phx_reply"), (None, "history_state")


def crashed(gateway):
    """Whether channel 1 was ended, in its worker as well."""
    downs = [each for each in gateway.workers.sent if isinstance(each, SocketDown)]
    return gateway.heard()[-1][1] == "phx_error" and [each.channels for each in downs] == [[1]]


@scenario
def test_missed_broadcasts_follow_the_answer_and_precede_live_ones_without_double_or_gap(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    for offset in (3, 4, 5):
        gateway.record(offset)
    gateway.join(history=True)
    assert gateway.heard() == [REPLY]
    gateway.record(6)
    gateway.recover(5, count=3)
    assert gateway.client.outbox[-1][4] == {"epoch": EPOCH, "offset": 5, "recovered": True, "count": 3}
    gateway.miss(3)
    gateway.record(7)
    assert gateway.heard() == [STATE, *at(3, event="m")]
    gateway.miss(4, 5)
    gateway.record(8)
    assert gateway.heard() == [*at(4, 5, event="m"), *at(6, 7, 8)]


@scenario
def test_a_state_carries_the_join_ref_of_its_channel(gateway):
    gateway.join(history=True)
    gateway.recover(0)
    assert gateway.client.outbox[-1][:3] == ["1", None, "room:1"]


@scenario
def test_a_client_that_asks_for_positions_only_misses_nothing_since_the_answer_to_its_join(gateway):
    """Its worker may read the position much later, when the topic has a recorder again."""
    gateway.join(history=True)
    for offset in (4, 5):
        gateway.record(offset)
    gateway.recover(5, fresh=True)
    assert gateway.client.outbox[1][:4] == ["1", None, "room:1", "history_state"]
    assert gateway.client.outbox[1][4] == {"epoch": EPOCH, "offset": 3, "recovered": True, "count": 0}
    gateway.record(6)
    assert gateway.heard() == [REPLY, STATE, *at(4, 5, 6)]


@scenario
def test_a_client_that_asks_for_positions_only_does_not_hear_what_its_worker_made_during_join(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.record(3, number=40)
    gateway.join(history=True, since=40)
    gateway.record(4, number=41)
    gateway.recover(4, fresh=True)
    assert gateway.client.outbox[1][4]["offset"] == 3
    assert gateway.heard() == [REPLY, STATE, *at(4)]


@scenario
def test_a_client_that_asks_for_positions_only_is_told_the_newest_one_if_nothing_came_since(gateway):
    gateway.join(history=True)
    gateway.recover(5, fresh=True)
    assert gateway.client.outbox[1][4] == {"epoch": EPOCH, "offset": 5, "recovered": True, "count": 0}
    for offset in (5, 6):
        gateway.record(offset)
    assert gateway.heard() == [REPLY, STATE, *at(6)]


@scenario
def test_a_client_that_did_not_ask_hears_the_same_as_without_a_history(gateway):
    gateway.join()
    for offset in (1, 2, 3):
        gateway.record(offset)
    assert gateway.client.outbox[1:] == [[None, None, "room:1", "e", {}]] * 3


@scenario
def test_recorded_broadcasts_that_arrive_after_the_missed_ones_are_dropped_up_to_the_offset(gateway):
    gateway.join(history=True)
    gateway.recover(7, count=1)
    gateway.miss(7)
    for offset in (5, 6, 7, 8, 9):
        gateway.record(offset)
    assert gateway.heard()[2:] == [*at(7, event="m"), *at(8, 9)]
    counts = gateway.hub.fanout.routes["room:*"]
    assert counts.expected == counts.delivered + counts.filtered["before_join"] == 5


@scenario
def test_the_position_and_not_since_decides_what_is_recorded_before_the_join(gateway):
    """The worker's own broadcast from during `join` may be newer than what it found in the history."""
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.record(3, number=40)
    gateway.record(4, number=41)
    gateway.broadcast(42, "typing")
    gateway.join(history=True, since=42)
    gateway.recover(3)
    assert gateway.heard() == [REPLY, STATE, *at(4)]


@scenario
def test_what_is_not_kept_is_held_behind_the_missed_ones_and_compared_with_since(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.broadcast(42, "typing")
    gateway.join(history=True, since=42)
    gateway.broadcast(43, "typing")
    gateway.recover(2, count=1)
    gateway.miss(2)
    assert gateway.heard() == [REPLY, STATE, *at(2, event="m"), (None, "typing")]


@scenario
def test_a_history_that_cannot_be_read_ends_the_wait_and_filters_nothing(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.record(3)
    gateway.join(history=True)
    gateway.recover(0, epoch="", recovered=False)
    assert gateway.client.outbox[-2][4] == {"epoch": "", "offset": 0, "recovered": False, "count": 0}
    gateway.record(4)
    assert gateway.heard() == [REPLY, STATE, *at(3, 4)]


@scenario
def test_another_epoch_is_not_compared(gateway):
    gateway.join(history=True)
    gateway.recover(7)
    gateway.record(1, epoch="another")
    assert gateway.heard()[2:] == [("another:1", "e")]


@scenario
def test_what_the_client_sends_meanwhile_is_not_held(gateway):
    gateway.join(history=True)
    gateway.say("1", "2", "room:1", "e", {})
    assert [type(each).__name__ for each in gateway.workers.sent] == ["Join", "Push"]


@scenario
def test_bytes_come_behind_their_position_and_not_at_all_to_a_client_that_takes_only_text(gateway):
    gateway.client.encoding = BYTES
    gateway.client.session.serializer = V2JSON()
    gateway.join(history=True)
    gateway.recover(1, count=1)
    gateway.miss(1, event="bin", codec=BINARY, data=b"\x00")
    frames = gateway.client.outbox[2:]
    assert frames == [
        b'[null,null,"room:1","history_position",{"epoch":"%b","offset":1,"event":"bin"}]' % EPOCH.encode(),
        b"\x02\x06\x03room:1bin\x00",
    ]
    before = counters.value("broadcasts_unencodable")
    gateway.client.session.serializer = TextOnly(V2JSON())
    gateway.say("2", "2", "room:2", "phx_join", {})
    gateway.join("room:2", 2, history=True)
    gateway.client.outbox.clear()
    gateway.recover(1, count=1, number=2)
    gateway.miss(1, number=2, event="bin", codec=BINARY, data=b"\x00")
    assert len(gateway.client.outbox) == 1
    assert counters.value("broadcasts_unencodable") == before + 1


BYTES = Encoding(V2JSON(), lambda frame: frame.data)


@scenario
def test_events_that_the_channel_intercepts_are_not_among_the_missed(gateway):
    gateway.join(history=True, intercepts=("m",))
    gateway.recover(2, count=2)
    gateway.miss(1, 2)
    gateway.record(3)
    assert gateway.heard()[2:] == at(3)


@scenario
def test_a_malformed_payload_costs_that_broadcast_alone(gateway):
    gateway.join(history=True)
    gateway.recover(2, count=2)
    before = counters.value("worker_payloads_malformed")
    gateway.miss(1, data=b"{")
    gateway.miss(2)
    gateway.record(3)
    assert gateway.heard()[2:] == [*at(2, event="m"), *at(3)]
    assert counters.value("worker_payloads_malformed") == before + 1


WRONG = {
    "a state that nobody asked for": (False, [("recover", 1)]),
    "missed ones that nobody asked for": (False, [("miss", 1)]),
    "missed ones before the state": (True, [("miss", 1)]),
    "a second state": (True, [("recover", 1), ("recover", 1)]),
    "more than announced": (True, [("recover", 3, 2), ("miss", 1, 2, 3)]),
    "one when none is left": (True, [("recover", 3, 1), ("miss", 3), ("miss", 3)]),
    "one twice": (True, [("recover", 3, 2), ("miss", 2, 2)]),
    "one above the offset": (True, [("recover", 3, 1), ("miss", 4)]),
    "missed ones that were not recovered": (True, [("recover", 3, 1, 1, EPOCH, False)]),
    "missed ones without an epoch": (True, [("recover", 3, 1, 1, "")]),
}


@pytest.mark.parametrize(("history", "steps"), WRONG.values(), ids=WRONG)
def test_a_worker_that_sends_a_history_wrongly_loses_that_channel_alone(history, steps):
    @scenario
    def test(gateway):
        gateway.join(history=history)
        gateway.join("room:2", 2)
        for verb, *values in steps:
            getattr(gateway, verb)(*values)
        assert crashed(gateway)
        assert list(gateway.client.session.channels) == ["room:2"]

    test()


@scenario
def test_a_state_before_the_answer_refuses_the_join(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.recover(1)
    assert gateway.client.outbox[-1][4] == {"status": "error", "response": {"reason": "join crashed"}}


@scenario
def test_a_worker_that_is_lost_meanwhile_ends_the_channel_and_what_is_held_is_accounted_for(gateway):
    gateway.join(history=True)
    gateway.recover(3, count=3)
    gateway.record(4)
    gateway.hub.on_lost(WORKER, True)
    assert gateway.heard()[-1][1] == "phx_error"
    assert gateway.hub.fanout.routes["room:*"].dropped == {"channel_ended": 1}


@scenario
def test_a_channel_that_ends_meanwhile_ends_as_any_other(gateway):
    gateway.join(history=True)
    gateway.hear(Crashed(1, 0))
    gateway.recover(3, count=3)
    assert [event for _, event in gateway.heard()] == ["phx_reply", "phx_error"]


@scenario
def test_a_replaced_channel_hears_nothing_more_of_its_history(gateway):
    gateway.join(history=True)
    gateway.recover(3, count=3)
    gateway.say("2", "2", "room:1", "phx_join", {})
    gateway.heard()
    gateway.miss(1, 2, 3)
    gateway.record(4)
    assert gateway.heard() == []
    gateway.hear(Closed(1, 0))
    assert [each.channel for each in gateway.workers.sent if type(each).__name__ == "Join"] == [1, 2]


@scenario
def test_a_client_that_goes_meanwhile_leaves_nothing(gateway):
    gateway.join(history=True)
    gateway.recover(3, count=3)
    gateway.record(4)
    gateway.hub.disconnected(gateway.client, "closed")
    gateway.miss(1)
    assert len(gateway.hub.fanout) == 0
    assert gateway.hub.fanout.routes["room:*"].held == 0


@scenario
def test_a_channel_cannot_move_before_it_has_its_history(gateway):
    gateway.join(history=True)
    gateway.recover(3, count=3)
    gateway.hear(Moving(1))
    gateway.hear(Moved(1, 0, b"\x80", b""))
    assert gateway.heard()[-1][1] == "phx_error"


@scenario
def test_a_channel_with_positions_keeps_them_when_it_moves(gateway):
    gateway.join(history=True)
    gateway.recover(3)
    for offset in (4, 5):
        gateway.record(offset)
    gateway.hear(Moving(1))
    gateway.record(6)
    gateway.hear(Moved(1, 0, b"\x80", b""))
    gateway.record(7)
    gateway.resumed()
    gateway.record(8)
    gateway.record(9, term=2, recorder="x")
    assert gateway.heard()[2:] == at(4, 5, 6, 7, 8, 9)


@scenario
def test_broadcasts_that_must_follow_commands_wait_for_the_history_as_well(gateway):
    gateway.join(history=True)
    gateway.record(4, sender=Sender("g", 1, False, 3), origin=WORKER, sequence=9, recorder=ELSEWHERE)
    gateway.recover(3, count=1)
    assert gateway.heard() == [REPLY, STATE]
    gateway.miss(3)
    assert gateway.heard() == [*at(3, event="m"), *at(4)]
