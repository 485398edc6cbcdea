"""mesh/history/seen.py: which numbers of a publisher were recorded, though they may come out of order."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.history.seen import MAX_NUMBERS, MAX_ORIGINS, NUMBER_BYTES, ORIGIN_BYTES, Seen

numbers = st.lists(st.integers(1, 400), max_size=100)


def made(numbers, origin="n"):
    seen = Seen()
    for number in numbers:
        seen.note(origin, number)
    check(seen)
    return seen


def check(seen):
    given = seen.given()
    assert seen.memory == sum(ORIGIN_BYTES + NUMBER_BYTES * len(each) for each in given.values())
    assert all(each == sorted(set(each)) and len(each) <= MAX_NUMBERS for each in given.values())


def test_a_late_number_counts_as_recorded_only_once_it_was():
    seen = made([1, 2, 5])
    assert not seen.has("n", 4)
    seen.note("n", 4)
    assert [number for number in range(1, 7) if seen.has("n", number)] == [1, 2, 4, 5]
    assert not seen.has("other", 1)


@given(numbers)
def test_exactly_the_noted_numbers_were_seen(noted):
    seen = made(noted)
    assert {number for number in range(1, 401) if seen.has("n", number)} == set(noted)


@given(numbers, numbers)
def test_merged_are_those_of_both(one, two):
    seen = made(one)
    seen.merge(made(two).given())
    check(seen)
    assert {number for number in range(1, 401) if seen.has("n", number)} == {*one, *two}


@given(st.lists(st.integers(1, 2000), max_size=600), st.lists(st.integers(1, 2000), max_size=600))
def test_what_is_too_old_to_tell_counts_as_recorded(one, two):
    seen = made(one)
    seen.merge(made(two).given())
    check(seen)
    assert all(seen.has("n", number) for number in (*one, *two))
    assert len(seen.given().get("n", ())) <= MAX_NUMBERS


def test_a_number_that_was_taken_back_can_be_recorded_again():
    seen = made([1, 2, 3])
    seen.forget("n", 2)
    seen.forget("n", 9)
    check(seen)
    assert [seen.has("n", number) for number in (1, 2, 3)] == [True, False, True]


def test_the_publishers_are_bounded():
    seen = Seen()
    for number in range(MAX_ORIGINS + 1):
        seen.note(f"n{number}", 1)
    check(seen)
    assert not seen.has("n0", 1)
    assert seen.has("n1", 1)
    assert Seen(seen.given()).given() == seen.given()
