"""gateway/crashed_joins.py and gateway/suspects.py: which joins are refused, and which must wait."""

from gateway.crashed_joins import CALM_SECONDS, FORGET_SECONDS, MAX_TOPICS, CrashedJoins
from gateway.suspects import ALONE_SECONDS, Suspects

TOPIC = ("/socket", "room:1")


def test_the_second_death_refuses_a_join_and_its_topic_is_left_alone():
    crashed = CrashedJoins(300.0)
    assert not crashed.died(TOPIC, 1, 0.0)
    assert not crashed.left_alone(TOPIC, 0.0)
    assert crashed.died(TOPIC, 2, 0.0)
    assert crashed.left_alone(TOPIC, 0.9)
    assert not crashed.left_alone(("/socket", "room:2"), 0.9)
    assert not crashed.left_alone(TOPIC, 1.0)


def test_after_the_wait_one_death_is_enough_and_doubles_it_up_to_a_bound():
    crashed, now = CrashedJoins(5.0), 0.0
    crashed.died(TOPIC, 2, now)
    for seconds in (2.0, 4.0, 5.0, 5.0):
        now += crashed.seconds(TOPIC)
        crashed.answered(TOPIC, now)  # another client can join; that says little
        assert crashed.died(TOPIC, 1, now)
        assert crashed.seconds(TOPIC) == seconds
        assert crashed.left_alone(TOPIC, now + seconds - 0.1)


def test_many_joins_of_a_topic_on_one_worker_are_one_death():
    crashed = CrashedJoins(300.0)
    assert all(crashed.died(TOPIC, 2, 0.0) for _ in range(100))
    assert crashed.died(TOPIC, 1, 0.5)
    assert crashed.times(TOPIC) == 1


def test_a_topic_that_can_be_joined_again_is_forgotten_after_a_calm_while():
    crashed = CrashedJoins(300.0)
    crashed.died(TOPIC, 2, 0.0)
    crashed.answered(TOPIC, 1.0 + CALM_SECONDS)
    assert not crashed
    crashed.died(TOPIC, 2, 0.0)
    assert not crashed.died(TOPIC, 1, 1.0 + FORGET_SECONDS)


def test_what_another_gateway_says_counts_and_is_news_once():
    crashed = CrashedJoins(300.0)
    assert crashed.told(TOPIC, 3, 0.0)
    assert crashed.left_alone(TOPIC, 3.9)
    assert not crashed.told(TOPIC, 3, 0.0)
    assert not crashed.told(TOPIC, 4, 1.0), "it is left alone already"
    assert crashed.told(TOPIC, 4, 5.0)
    assert not crashed.told(TOPIC, -1, 100.0)
    assert crashed.told(("/socket", "room:2"), 2**62, 0.0)
    assert crashed.left_alone(("/socket", "room:2"), 299.0)
    assert not crashed.left_alone(("/socket", "room:2"), 300.0)


def test_what_is_remembered_is_bounded():
    crashed = CrashedJoins(300.0)
    for number in range(MAX_TOPICS + 10):
        crashed.died(("/socket", f"room:{number}"), 2, 0.0)
    assert len(crashed._topics) == MAX_TOPICS
    assert crashed.left_alone(("/socket", f"room:{MAX_TOPICS}"), 0.0)


def test_suspects_go_one_by_one_and_more_at_once_with_each_that_is_answered():
    suspects = Suspects()
    for number in range(10):
        suspects.add(number, 0.0)
    assert suspects.due(0.0) == [9], "the youngest first"
    assert suspects.due(0.0) == []
    suspects.answered(9)
    assert suspects.due(0.0) == [8, 7]
    suspects.answered(8)
    suspects.answered(7)
    assert suspects.due(0.0) == [6, 5, 4, 3]


def test_a_suspect_that_takes_long_makes_room_and_one_that_is_over_too():
    suspects = Suspects()
    for number in range(4):
        suspects.add(number, 0.0)
    assert suspects.due(0.0) == [3]
    assert suspects.due(ALONE_SECONDS) == [2]
    suspects.forget(2)
    suspects.forget(1)
    assert suspects.due(ALONE_SECONDS) == [0]
    assert not suspects.waits(0)
    assert suspects.under_way(0)


def test_a_suspect_waits_for_its_moment():
    suspects = Suspects()
    suspects.add("late", 0.4)
    suspects.add("soon", 0.2)
    assert suspects.due(0.1) == []
    assert suspects.due(0.2) == ["soon"]
    suspects.answered("soon")
    assert suspects.due(0.4) == ["late"]
    suspects.forget("late")
    assert not suspects
