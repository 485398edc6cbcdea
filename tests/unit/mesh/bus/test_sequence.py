"""mesh/bus/sequence.py: what has come already, and what to send again."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.bus import sequence
from mesh.bus.sequence import Duplicates, Message, Sent


def message(number, size=2):
    return Message(number, "room:1", [b"room:1\x00", b"", b"x" * size], 0.0)


def numbers(messages):
    return [each.sequence for each in messages]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 30))))
def test_each_number_of_each_origin_is_new_once_in_any_order(arrivals):
    duplicates = Duplicates()
    seen = set()
    for origin, number in arrivals:
        assert duplicates.has(origin, number) == ((origin, number) in seen)
        assert duplicates.is_new(origin, number) == ((origin, number) not in seen)
        seen.add((origin, number))


def test_what_is_long_past_is_not_taken_again_though_it_is_forgotten():
    duplicates = Duplicates()
    assert duplicates.is_new("a", 5)
    for seconds in (16, 32, 48):
        duplicates.tick(seconds)
    assert not duplicates.is_new("a", 5)
    assert not duplicates.is_new("a", 4)
    assert duplicates.is_new("a", 6)


def test_what_came_lately_is_told_apart_by_its_number_alone():
    duplicates = Duplicates()
    assert duplicates.is_new("a", 9)
    duplicates.tick(16)
    assert duplicates.is_new("a", 7)  # sent again by its origin: the first has never come
    assert not duplicates.is_new("a", 7)


def test_an_origin_of_which_nothing_comes_costs_nothing():
    duplicates = Duplicates()
    duplicates.is_new("a", 1)
    for seconds in range(16, 3600, 16):
        duplicates.tick(seconds)
    assert not duplicates.is_new("a", 1), "after a long cut its origin may send it again"
    for seconds in range(3600, 8000, 16):
        duplicates.tick(seconds)
    assert duplicates._origins == {}


def test_much_of_one_origin_is_bounded(monkeypatch):
    monkeypatch.setattr(sequence, "REMEMBERED", 10)
    duplicates = Duplicates()
    assert all(duplicates.is_new("a", number) for number in range(1, 100))
    of = duplicates._origins["a"]
    assert len(of.recent) + len(of.older) <= 22
    assert not any(duplicates.is_new("a", number) for number in range(1, 100))


def test_what_is_not_confirmed_or_of_the_last_second_is_sent_again():
    sent = Sent()
    for number in (1, 2, 3):
        sent.add(message(number))
    sent.tick(10.0)
    sent.taken(2)
    sent.add(message(4))
    sent.tick(10.5)
    sent.tick(10.9)
    assert len(sent) == 4  # all of the last second
    sent.tick(11.1)
    assert numbers(sent.take_all()) == [3, 4]
    assert sent.take_all() == []


def test_what_is_confirmed_and_old_is_forgotten():
    sent = Sent()
    sent.add(message(1))
    sent.taken(sent.position)
    for seconds in (0.0, 0.5, 1.0):
        sent.tick(seconds)
    assert len(sent) == 0


def test_the_time_in_which_a_publisher_stood_still_does_not_count():
    sent = Sent()
    sent.add(message(1))
    sent.taken(sent.position)
    sent.tick(0.0)
    sent.tick(60.0)  # the proxy may have gone meanwhile: nobody has read so yet
    assert numbers(sent.take_all()) == [1]


def test_a_message_sent_again_counts_by_when_it_was_sent_not_by_its_number():
    sent = Sent()
    sent.add(message(7))
    probed = sent.position
    sent.add(message(3))
    sent.taken(probed)
    assert not sent.untaken(7, 7)
    assert sent.untaken(3, 3)
    assert sent.untaken(1, 9)


def test_what_is_kept_is_bounded_by_count_and_bytes(monkeypatch):
    monkeypatch.setattr(sequence, "RESENT", 3)
    monkeypatch.setattr(sequence, "RESENT_BYTES", 100)
    sent = Sent()
    for number in range(1, 6):
        sent.add(message(number))
    assert numbers(sent.take_all()) == [3, 4, 5]
    sent.add(message(6, size=60))
    sent.add(message(7, size=60))
    assert numbers(sent.take_all()) == [7]
