"""mesh/bus/zeromq/duplicates.py: what has arrived already."""

from hypothesis import given
from hypothesis import strategies as st

from mesh.bus.zeromq import duplicates as module
from mesh.bus.zeromq.duplicates import Duplicates


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
    monkeypatch.setattr(module, "MAX_REMEMBERED", 10)
    duplicates = Duplicates()
    assert all(duplicates.is_new("a", number) for number in range(1, 100))
    of = duplicates._origins["a"]
    assert len(of.recent) + len(of.older) <= 22
    assert not any(duplicates.is_new("a", number) for number in range(1, 100))


def test_the_origins_are_bounded_and_those_that_send_most_are_kept(monkeypatch):
    monkeypatch.setattr(module, "MAX_ORIGINS", 16)
    monkeypatch.setattr(module, "FORGOTTEN_AT_ONCE", 4)
    duplicates = Duplicates()
    assert duplicates.is_new("silent", 1)
    duplicates.tick(16)
    duplicates.tick(32)
    for number in range(1, 10):
        assert duplicates.is_new("busy", number)
    for number in range(1_000):
        assert duplicates.is_new(f"stranger-{number}", 1)
        assert len(duplicates._origins) <= 16
    assert not any(duplicates.is_new("busy", number) for number in range(1, 10))
    assert "silent" not in duplicates._origins
    assert duplicates.origins_forgotten == 1_002 - len(duplicates._origins)
    assert duplicates._numbers == sum(each.count for each in duplicates._origins.values())


def test_a_mesh_of_thousands_of_nodes_is_remembered_as_a_whole():
    duplicates = Duplicates()
    for number in range(1, 4):
        assert all(duplicates.is_new(f"node-{node}", number) for node in range(5_000))
    assert not any(duplicates.is_new(f"node-{node}", 2) for node in range(5_000))
    assert duplicates.origins_forgotten == 0


def test_the_numbers_of_all_origins_are_bounded_and_none_is_taken_twice(monkeypatch):
    monkeypatch.setattr(module, "MAX_NUMBERS", 40)
    duplicates = Duplicates()
    for number in range(1, 100):
        for origin in "abc":
            assert duplicates.is_new(origin, number)
            kept = sum(each.count for each in duplicates._origins.values())
            assert duplicates._numbers == kept <= 40
    assert not any(duplicates.is_new(origin, number) for origin in "abc" for number in range(1, 100))
