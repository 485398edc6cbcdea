"""gateway/ordering/unrecorded.py: which kept broadcasts have come, but not yet recorded."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.ordering.unrecorded import MAX_NUMBERS, Unrecorded


def make(*numbers, topic="room:1"):
    unrecorded = Unrecorded()
    for number in numbers:
        unrecorded.add("w", topic, number)
    return unrecorded


def test_only_numbers_up_to_the_one_that_a_command_follows_are_awaited():
    unrecorded = make(5, 9)
    assert [unrecorded.awaits("w", "room:1", after) for after in (4, 5, 7, 9)] == [False, True, True, True]
    assert not unrecorded.awaits("w", "room:2", 9)
    assert not unrecorded.awaits("x", "room:1", 9)
    unrecorded.passed("w", "room:1", 5)
    assert [unrecorded.awaits("w", "room:1", after) for after in (5, 7, 9)] == [False, False, True]


def test_a_recorded_broadcast_proves_that_the_earlier_ones_have_passed():
    unrecorded = make(5, 6, 7)
    unrecorded.passed("w", "room:1", 7)
    assert not unrecorded
    assert len(unrecorded) == 0


def test_what_was_never_noted_may_pass():
    unrecorded = make(5)
    unrecorded.passed("w", "room:2", 7)
    unrecorded.passed("x", "room:1", 7)
    unrecorded.passed("w", "room:1", 4)
    assert len(unrecorded) == 1


def test_a_broadcast_that_comes_twice_counts_once():
    assert len(make(5, 5, 4)) == 1


def test_an_origin_or_a_topic_that_is_gone_is_forgotten():
    unrecorded = make(5, 6)
    unrecorded.add("x", "room:1", 5)
    unrecorded.add("w", "room:2", 7)
    unrecorded.forget_origin("w")
    assert not unrecorded.awaits("w", "room:2", 7)
    assert unrecorded.awaits("x", "room:1", 5)
    unrecorded.forget_topic("room:1")
    unrecorded.forget_topic("room:1")
    assert not unrecorded
    assert len(unrecorded) == 0


def test_the_topic_that_is_known_for_longest_is_forgotten_first():
    unrecorded = make(1)
    for number in range(MAX_NUMBERS):
        unrecorded.add("w", "room:2", number)
    assert not unrecorded.awaits("w", "room:1", 1)
    assert unrecorded.awaits("w", "room:2", 0)
    assert len(unrecorded) == MAX_NUMBERS


ORIGINS, TOPICS = st.sampled_from(["v", "w"]), st.sampled_from(["room:1", "room:2"])


@given(st.lists(st.tuples(st.sampled_from(["add", "passed"]), ORIGINS, TOPICS, st.integers(1, 20))))
def test_it_awaits_what_a_set_of_all_numbers_awaits(steps):
    unrecorded, all_numbers = Unrecorded(), set()
    for verb, origin, topic, number in steps:
        if verb == "add":
            if any(each[:2] == (origin, topic) and each[2] >= number for each in all_numbers):
                continue  # they come in order
            all_numbers.add((origin, topic, number))
        else:
            all_numbers = {each for each in all_numbers if each[:2] != (origin, topic) or each[2] > number}
        getattr(unrecorded, verb)(origin, topic, number)
    assert len(unrecorded) == len(all_numbers)
    assert bool(unrecorded) == bool(all_numbers)
    for origin in ("v", "w"):
        for topic in ("room:1", "room:2"):
            for after in range(22):
                waiting = any(each[:2] == (origin, topic) and each[2] <= after for each in all_numbers)
                assert unrecorded.awaits(origin, topic, after) == waiting
