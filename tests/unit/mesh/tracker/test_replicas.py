from mesh.tracker.replicas import Replicas


def make() -> Replicas:
    return Replicas(down_seconds=10, permdown_seconds=100)


def test_a_replica_is_up_with_its_first_word():
    replicas = make()
    assert replicas.record_message("a", 0)
    assert not replicas.record_message("a", 1)
    assert replicas.up() == ["a"]


def test_silence_makes_it_down_once_then_gone():
    replicas = make()
    replicas.record_message("a", 0)
    assert replicas.expire(10) == ([], [])
    assert replicas.expire(11) == (["a"], [])
    assert replicas.expire(12) == ([], [])
    assert replicas.expire(101) == ([], ["a"])
    assert replicas.expire(200) == ([], [])


def test_it_comes_back_with_its_next_word():
    replicas = make()
    replicas.record_message("a", 0)
    replicas.expire(11)
    assert replicas.record_message("a", 12)
    assert replicas.up() == ["a"]


def test_a_report_of_its_death_makes_it_down_at_once():
    replicas = make()
    assert not replicas.lost("a")
    replicas.record_message("a", 0)
    assert replicas.lost("a")
    assert not replicas.lost("a")
    assert replicas.up() == []
    assert replicas.record_message("a", 1), "it was alive after all"


def test_who_was_frozen_blames_nobody():
    replicas = make()
    replicas.record_message("a", 0)
    replicas.resume(50)
    assert replicas.expire(55) == ([], [])


def test_a_goodbye_leaves_nothing():
    replicas = make()
    replicas.record_message("a", 0)
    replicas.forget("a")
    assert replicas.expire(1000) == ([], [])
    assert replicas.record_message("a", 1001)
