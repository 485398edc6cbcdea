"""One log: recording, limits, queries, and what it takes from another recorder."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.app.history import History
from mesh.history.contract import Head, Page, Query
from mesh.history.log import MAX_AHEAD, Log, Snapshot, new_epoch
from mesh.history.seen import MAX_ORIGINS
from mesh.history.selection import select
from tests.unit.mesh.history.logs import NOW, check, entry, offsets

HISTORY = History(messages=100_000, seconds=10**9, bytes=64_000_000)


def followed(log, *wanted, term=1, recorder="r", epoch="e"):
    for each in wanted:
        log.follow(term, recorder, Head(epoch, each.offset), each)
        check(log)


def copy_of(*wanted):
    log = Log("r", epoch="e")
    followed(log, *(entry(each) for each in wanted))
    return log


def record(log, number, data=b"x", now=NOW, origin="n"):
    return log.record("e", 1, data, origin, number, now)


# Recording and limits


def test_an_epoch_has_twelve_characters_and_begins_with_a_letter():
    epochs = {new_epoch() for _ in range(1000)}
    assert len(epochs) == 1000
    for each in epochs:
        assert len(each) == 12
        assert each.isascii()
        assert each.isalnum()
        assert each == each.lower()
        assert each[0].isalpha()


def test_a_broadcast_is_recorded_once():
    log = Log("r")
    assert record(log, 5).offset == 1
    assert record(log, 5) is None
    assert record(log, 4).offset == 2, "it was sent again"
    assert record(log, 4) is None
    assert record(log, 4, origin="m").offset == 3
    assert log.is_recorded("n", 5)
    assert not log.is_recorded("n", 6)
    assert not log.is_recorded("m", 5)
    check(log)


def test_who_published_least_recently_is_forgotten_first():
    log = Log("r")
    record(log, 1, origin="steady")
    for number in range(MAX_ORIGINS + 10):
        record(log, 1, origin=f"n{number}")
        record(log, number + 2, origin="steady")
        check(log)
    assert log.is_recorded("steady", 1)
    assert not log.is_recorded("n0", 1)
    assert log.is_recorded(f"n{MAX_ORIGINS}", 1)
    assert len(log.snapshot().seen) == MAX_ORIGINS


@given(
    st.lists(st.tuples(st.integers(0, 50), st.floats(0, 20)), max_size=60),
    st.integers(1, 12),
    st.integers(1, 150),
    st.floats(1, 40),
)
def test_limits_leave_the_newest_entries(recorded, messages, size, seconds):
    history, log, model, now = History(messages, seconds, size), Log("r"), [], NOW
    for number, (length, pause) in enumerate(recorded, 1):
        now += pause
        record(log, number, b"x" * length, now)
        log.trim(history, now)
        model.append((number, length, now))
        while model and (
            len(model) > messages or sum(each[1] for each in model) > size or model[0][2] < now - seconds
        ):
            model.pop(0)
        check(log)
        assert offsets(log.entries) == [each[0] for each in model]
        assert log.offset == number


def test_an_appended_entry_has_the_next_offset():
    log = Log("r")
    log.append(entry(1))
    for wrong in (0, 1, 3):
        with pytest.raises(ValueError, match="does not follow 1"):
            log.append(entry(wrong))
    assert log.is_recorded("n", 1)
    check(log)


def test_a_forgotten_log_begins_an_epoch_and_remembers_what_was_recorded():
    log = Log("r", term=3)
    record(log, 1)
    before = log.epoch
    log.forget("s")
    assert (log.term, log.recorder, log.head) == (4, "s", (log.epoch, 0))
    assert log.epoch != before
    assert record(log, 1) is None
    assert record(log, 2).offset == 1
    check(log)


# Queries


def expected(query, head, entries):
    """What `select` must return, in the words of the contract."""
    known = [each for each in entries if query.before is None or each.offset < query.before]
    if query.after is None:
        return Page(*head, True, known[len(known) - min(len(known), query.limit) :])
    wanted = range(query.after + 1, min(head.offset + 1, query.before or 2**60))
    found = [each for each in known if each.offset > query.after]
    first = entries[0].offset if entries else head.offset + 1
    if query.epoch not in (None, head.epoch) or not first - 1 <= query.after <= head.offset:
        return Page(*head, False, [])
    return Page(*head, len(wanted) <= query.limit, found[: query.limit])


@given(st.data(), st.integers(0, 30), st.integers(0, 30))
def test_a_query_gets_what_the_contract_says(data, trimmed, kept):
    entries = [entry(each) for each in range(trimmed + 1, trimmed + kept + 1)]
    head = Head("e", trimmed + kept)
    position = st.none() | st.integers(0, trimmed + kept + 3)
    query = Query(
        "t",
        data.draw(st.sampled_from([None, "e", "other"])),
        data.draw(position),
        data.draw(position.filter(lambda each: each != 0)),
        data.draw(st.integers(0, 40)),
    )
    assert select(query, head, trimmed + 1, entries) == expected(query, head, entries)
    page = Log.of(Snapshot("e", 1, "r", head.offset, entries, {})).read(query, HISTORY, NOW)
    assert page == expected(query, head, entries)
    if query.after is not None and page.complete and query.before is None:
        assert offsets(page.entries) == list(range(query.after + 1, head.offset + 1))


def test_a_log_that_lacks_an_entry_answers_nothing_as_complete():
    log = copy_of(1, 2, 4)
    assert log.read(Query("t", "e", 1), HISTORY, NOW) == Page("e", 2, False, [entry(2)])
    assert not log.read(Query("t"), HISTORY, NOW).complete
    followed(log, entry(3))
    assert log.read(Query("t", "e", 1), HISTORY, NOW).complete
    assert log.head == ("e", 4)


# Following a recorder


@given(st.data(), st.integers(1, 25))
def test_a_copy_is_complete_only_with_every_entry(data, count):
    recorder = Log("r", epoch="e")
    recorded = [record(recorder, number, b"x" * number) for number in range(1, count + 1)]
    received = data.draw(st.lists(st.sampled_from(recorded), max_size=60))
    log = Log("r", epoch="e")
    told = set()
    for each in received:
        followed(log, each)
        told.add(each.offset)
        without_gap = next(number for number in range(1, count + 2) if number not in told)
        assert log.offset == without_gap - 1
        assert log.complete == (max(told) == log.offset)
        assert list(log.entries) == recorded[: log.offset]
    log.merge(recorder.snapshot(data.draw(st.integers(0, log.offset))))
    check(log)
    assert log.complete
    assert list(log.entries) == recorded


def test_a_copy_that_begins_later_has_what_follows():
    log = Log("a")
    followed(log, entry(7), entry(8))
    assert (log.first, log.head, log.complete) == (7, ("e", 8), True)
    log.merge(Snapshot("e", 1, "r", 7, [entry(5), entry(6), entry(7)], {}))
    check(log)
    assert offsets(log.entries) == [5, 6, 7, 8]


def test_an_earlier_recorder_is_ignored():
    log = copy_of(1, 2)
    log.follow(2, "a", Head("e", 2), None)
    for term, recorder in ((1, "r"), (1, "zzz"), (2, "A")):
        log.follow(term, recorder, Head("e", 3), entry(3))
        log.follow(term, recorder, Head("other", 1), entry(1))
        log.merge(Snapshot("other", term, recorder, 1, [entry(1)], {"n": [99]}))
    assert (log.term, log.recorder, log.head) == (2, "a", ("e", 2))
    assert not log.is_recorded("n", 3)
    log.follow(2, "b", Head("e", 3), entry(3))
    assert (log.term, log.recorder, log.head) == (2, "b", ("e", 3))
    check(log)


def test_a_claim_tells_a_copy_what_it_lacks():
    log = copy_of(1, 2)
    log.follow(2, "s", Head("e", 2), None)
    assert log.complete
    log.follow(3, "s", Head("e", 4), None)
    assert not log.complete
    followed(log, entry(5), term=3, recorder="s")
    assert (log.offset, log.complete) == (2, False)
    log.merge(Snapshot("e", 3, "s", 4, [entry(3), entry(4)], {}))
    check(log)
    assert (log.offset, log.complete) == (5, True)


def test_a_late_claim_removes_nothing():
    log = copy_of(1)
    followed(log, entry(2), entry(3), term=2, recorder="s")
    log.follow(2, "s", Head("e", 1), None)
    assert (log.offset, log.complete) == (3, True)


def test_what_a_later_recorder_does_not_have_is_removed_and_not_recorded_any_longer():
    log = copy_of(1, 2, 3, 4, 6)
    log.follow(2, "s", Head("e", 2), None)
    check(log)
    assert (offsets(log.entries), log.complete) == ([1, 2], True)
    assert log.is_recorded("n", 2)
    assert not log.is_recorded("n", 3)
    followed(log, entry(3, origin="m"), term=2, recorder="s")
    assert (log.offset, log.complete) == (3, True)


def test_a_recorder_with_a_log_that_lacks_something_begins_an_epoch():
    log = copy_of(1, 3)
    log.begin_term("s")
    assert log.complete
    assert log.epoch != "e"
    assert (log.term, log.recorder, log.offset) == (2, "s", 0)
    check(log)
    log = copy_of(1, 2)
    log.begin_term("s")
    assert (log.term, log.recorder, log.head) == (2, "s", ("e", 2))


def test_a_copy_that_misses_too_much_is_completed_only_by_a_snapshot_of_all():
    log = copy_of(1)
    for offset in range(3, MAX_AHEAD + 10):
        log.follow(1, "r", Head("e", offset), entry(offset))
    check(log)
    followed(log, entry(2))
    assert (log.offset, log.complete) == (MAX_AHEAD + 2, False)
    log.merge(Snapshot("e", 1, "r", 3, [entry(3)], {}))
    assert not log.complete
    last = MAX_AHEAD + 9
    log.merge(Snapshot("e", 1, "r", last, [entry(each) for each in range(5, last + 1)], {}))
    assert (log.offset, log.complete) == (last, True)
    check(log)


# Merging


def test_a_snapshot_behind_a_gap_replaces_the_log_and_keeps_what_waits():
    log = copy_of(1, 2, 9)
    log.merge(Snapshot("e", 1, "r", 8, [entry(7), entry(8)], {}))
    check(log)
    assert (offsets(log.entries), log.complete) == ([7, 8, 9], True)


def test_an_older_snapshot_that_does_not_touch_the_log_changes_nothing():
    log = Log("a")
    followed(log, entry(7), entry(8))
    log.merge(Snapshot("e", 1, "r", 3, [entry(2), entry(3)], {"m": [4]}))
    check(log)
    assert offsets(log.entries) == [7, 8]
    assert log.is_recorded("m", 4)


def test_a_snapshot_of_a_later_term_replaces_what_differs():
    log = copy_of(1, 2, 3, 4)
    theirs = [entry(2), entry(3, origin="m"), entry(4, origin="m", sequence=8)]
    log.merge(Snapshot("e", 2, "s", 4, theirs, {"m": [8]}))
    check(log)
    assert list(log.entries) == [entry(1), *theirs]
    assert not log.is_recorded("n", 3)
    log.merge(Snapshot("e", 3, "s", 2, [entry(2)], {}))
    check(log)
    assert list(log.entries) == [entry(1), entry(2)]
    assert log.complete


def test_a_snapshot_without_entries_gives_the_position():
    log = Log.of(Snapshot("e", 4, "r", 9, [], {"n": [3]}))
    assert (log.head, log.term, log.recorder, log.complete) == (("e", 9), 4, "r", True)
    assert log.is_recorded("n", 3)
    check(log)


@given(st.integers(0, 12), st.integers(0, 15))
def test_a_snapshot_has_the_entries_above_an_offset(count, after):
    log = copy_of(*range(1, count + 1))
    given = msgspec.msgpack.decode(msgspec.msgpack.encode(log.snapshot(after)), type=Snapshot)
    assert offsets(given.entries) == list(range(after + 1, count + 1))
    assert (given.offset, given.first) == (count, min(after, count) + 1)
    copy = copy_of(*range(1, after + 1)) if after <= count else copy_of(*range(1, count + 1))
    copy.merge(given)
    assert list(copy.entries) == list(log.entries)


@pytest.mark.parametrize(
    ("offset", "held"), [(1, [1, 2]), (3, [1, 2]), (3, [1, 3]), (3, [3, 2]), (0, [1]), (1, [1, 1])]
)
def test_a_snapshot_whose_entries_are_not_contiguous_is_refused(offset, held):
    entries = [entry(each) for each in held]
    with pytest.raises(ValueError, match="entr"):
        Snapshot("e", 1, "r", offset, entries, {})
    data = msgspec.msgpack.encode(["e", 1, "r", offset, entries, {}])
    with pytest.raises(msgspec.ValidationError):
        msgspec.msgpack.decode(data, type=Snapshot)


STEPS = st.one_of(
    st.tuples(
        st.just("follow"), st.integers(1, 4), st.sampled_from("ab"), st.integers(1, 12), st.booleans()
    ),
    st.tuples(
        st.just("merge"), st.integers(1, 4), st.sampled_from("ab"), st.integers(0, 12), st.integers(0, 12)
    ),
    st.tuples(st.just("trim"), st.integers(1, 5)),
    st.tuples(st.just("begin_term")),
    st.tuples(st.just("forget")),
    st.tuples(st.just("record"), st.integers(1, 9)),
)


@given(st.lists(st.tuples(STEPS, st.sampled_from("ef")), max_size=40))
def test_whatever_other_workers_send_a_log_has_no_gap_and_counts_its_memory(steps):
    log = Log("r", epoch="e")
    for (kind, *given_), epoch in steps:
        if kind == "follow":
            term, recorder, offset, claim = given_
            new = None if claim else entry(offset, b"x" * offset, origin=recorder, sequence=offset + term)
            log.follow(term, recorder, Head(epoch, offset), new)
        elif kind == "merge":
            term, recorder, offset, count = given_
            held = range(max(1, offset - count + 1), offset + 1)
            entries = [entry(each, b"y" * each, origin=recorder, sequence=each + term) for each in held]
            log.merge(Snapshot(epoch, term, recorder, offset, entries, {recorder: [offset + term]}))
        elif kind == "trim":
            log.trim(History(messages=given_[0]), NOW)
        elif kind == "record" and log.complete:
            log.record("e", 1, b"zzz", "z", given_[0], NOW)
        elif kind != "record":
            getattr(log, kind)("c")
        check(log)
