"""mesh/client/history.py: what joins ask for, and what of the received is new."""

import json

import pytest

from mesh.client.history import History, Position, Seen
from mesh.errors import ChannelError

EPOCH, OTHER = "k3v9a0b1c2d3", "z9y8x7w6v5u4"


def joined(history, offset=1, recovered=True, count=0, epoch=EPOCH):
    """Join, and hear the answer; returns what the join asked for and what the answer was."""
    asked = history.join_params(None)["history"]
    answer = {"epoch": epoch, "offset": offset, "recovered": recovered, "count": count}
    return asked, history.received("history_state", answer, None)


def broadcast(history, offset, epoch=EPOCH, event="new_msg"):
    return history.received(event, {}, f"{epoch}:{offset}")


def at(offset, epoch=EPOCH):
    return {"epoch": epoch, "offset": offset}


def test_the_first_join_asks_for_positions_for_the_newest_or_from_a_stored_position():
    stored = json.loads(json.dumps(Position(EPOCH, 7)))
    assert History().join_params(None) == {"history": {}}
    assert History(last=50).join_params({"nick": "ann"}) == {"nick": "ann", "history": {"last": 50}}
    assert History(after=stored).join_params({}) == {"history": at(7)}
    with pytest.raises(ChannelError, match="the `last` broadcasts or `after` a position"):
        History(last=50, after=stored)


def test_the_missed_move_the_position_and_their_announcement_does_not():
    history = History(last=2)
    assert history.position is None
    assert joined(history, 2, count=2) == ({"last": 2}, Seen.SKIPPED)
    assert history.position is None
    assert [broadcast(history, offset) for offset in (1, 2, 3)] == [Seen.NEW] * 3
    assert joined(history, 9, count=6)[0] == at(3)
    assert joined(history, 9, count=6)[0] == at(3), "cut before the first of the missed"
    broadcast(history, 4)
    assert joined(history, 9, count=5)[0] == at(4), "cut between them"


def test_without_missed_ones_the_position_is_that_of_the_answer():
    history = History()
    joined(history, 1042)
    assert history.position == (EPOCH, 1042)


def test_a_position_that_cannot_be_recovered_from_is_a_gap():
    history = History()
    joined(history, 5)
    assert joined(history, 2, recovered=False, epoch=OTHER) == (at(5), Seen.GAP)
    assert history.position == (OTHER, 2)
    assert joined(History(after=(EPOCH, 7)), 900, recovered=False)[1] is Seen.GAP
    fresh = History(last=5)
    assert joined(fresh, 0, recovered=False, epoch="")[1] is Seen.SKIPPED, "it had no position"
    assert joined(fresh, 3, recovered=False) == (at(0, ""), Seen.GAP)


def test_doubles_are_skipped_and_another_epoch_is_none():
    history = History()
    joined(history, 4)
    seen = [broadcast(history, offset) for offset in (3, 4, 5, 5, 4)]
    assert seen == [Seen.SKIPPED, Seen.SKIPPED, Seen.NEW, Seen.SKIPPED, Seen.SKIPPED]
    assert broadcast(history, 5, OTHER) is Seen.NEW
    assert history.position == (OTHER, 5)


def test_broadcasts_of_an_earlier_join_come_again_with_the_answer():
    history = History()
    joined(history, 1)
    history.join_params({})
    assert broadcast(history, 9) is Seen.SKIPPED
    assert history.position == (EPOCH, 1)
    joined(history, 9, count=8)
    assert broadcast(history, 2) is Seen.NEW


def test_the_position_of_a_binary_broadcast_counts_when_that_has_arrived():
    history = History()
    joined(history, 1)
    announcement = {**at(2), "event": "frame"}
    assert history.received("history_position", announcement, None) is Seen.SKIPPED
    assert history.position == (EPOCH, 1)
    assert history.received("frame", b"f", None) is Seen.NEW
    assert history.position == (EPOCH, 2)
    history.received("history_position", announcement, None)
    assert history.received("frame", b"f", None) is Seen.SKIPPED, "a double"
    history.received("history_position", {**at(3), "event": "frame"}, None)
    assert history.received("new_msg", {}, None) is Seen.NEW
    assert history.received("frame", b"f", None) is Seen.NEW
    assert history.position == (EPOCH, 2), "it was for the next broadcast only"


def test_an_announcement_ends_with_its_join():
    history = History()
    joined(history, 1)
    history.received("history_position", {**at(2), "event": "frame"}, None)
    history.join_params({})
    assert history.received("frame", b"f", None) is Seen.NEW
    assert history.position == (EPOCH, 1)


def test_ones_own_broadcast_moves_the_position():
    history = History()
    joined(history, 1)
    assert history.received("history_position", at(2), None) is Seen.SKIPPED
    assert history.position == (EPOCH, 2)


@pytest.mark.parametrize("ref", [None, "17", 17, "", ":", "k3v9:", ":5", "K3:5", "k3:-5", "k3:5x", " k3:5"])
def test_other_refs_are_no_positions(ref):
    history = History()
    joined(history, 1)
    assert history.received("new_msg", {}, ref) is Seen.NEW
    assert history.position == (EPOCH, 1)


@pytest.mark.parametrize(
    "payload", [None, [], b"", {}, {"epoch": 1, "offset": 2}, {"epoch": "k", "offset": "2"}]
)
def test_malformed_events_change_nothing(payload):
    history = History()
    joined(history, 1)
    assert history.received("history_state", payload, None) is Seen.SKIPPED
    assert history.received("history_position", payload, None) is Seen.SKIPPED
    assert history.position == (EPOCH, 1)


def test_what_cannot_work_is_refused_with_the_reason():
    history = History()
    history.begin("room:1")
    history.begin("room:1")
    with pytest.raises(ChannelError, match="this history is that of 'room:1'; make another for 'room:2'"):
        history.begin("room:2")
    with pytest.raises(ChannelError, match=r"the parameters are \[1\]; to ask for history, want a dict"):
        history.join_params([1])

    async def reload(_position):
        """Reload."""

    for after in ({"epoch": EPOCH, "offset": 7}, (EPOCH,), 7):
        with pytest.raises(ChannelError, match=r"after is .*; want a stored position, \(epoch, offset\)"):
            History(after=after)
    with pytest.raises(ChannelError, match="on_gap is a coroutine function"):
        History(on_gap=reload)
