"""gateway/joins/refused_topics.py and gateway/joins/suspects.py: which joins are refused, and which must wait."""

import time

from mesh.gateway.joins.refused_topics import FORGET_SECONDS, MAX_TOPICS, PROBATION_SECONDS, RefusedTopics
from mesh.gateway.joins.suspects import SURVIVAL_SECONDS, Suspects

TOPIC = ("/socket", "room:1")


def test_the_second_death_refuses_a_join_and_its_topic():
    crashed = RefusedTopics(300.0)
    assert not crashed.died(TOPIC, 1, 0.0)
    assert not crashed.refuses(TOPIC, 0.0)
    assert crashed.died(TOPIC, 2, 0.0)
    assert crashed.refuses(TOPIC, 0.9)
    assert not crashed.refuses(("/socket", "room:2"), 0.9)
    assert not crashed.refuses(TOPIC, 1.0)


def test_after_the_wait_one_death_is_enough_and_doubles_it_up_to_a_bound():
    crashed, now = RefusedTopics(5.0), 0.0
    crashed.died(TOPIC, 2, now)
    for seconds in (2.0, 4.0, 5.0, 5.0):
        now += crashed.seconds(TOPIC)
        crashed.answered(TOPIC, now)  # another client can join; that says little
        assert crashed.died(TOPIC, 1, now)
        assert crashed.seconds(TOPIC) == seconds
        assert crashed.refuses(TOPIC, now + seconds - 0.1)


def test_many_joins_of_a_topic_on_one_worker_are_one_death():
    crashed = RefusedTopics(300.0)
    assert all(crashed.died(TOPIC, 2, 0.0) for _ in range(100))
    assert crashed.died(TOPIC, 1, 0.5)
    assert crashed.times(TOPIC) == 1


def test_a_topic_that_can_be_joined_again_is_forgotten_after_a_calm_while():
    crashed = RefusedTopics(300.0)
    crashed.died(TOPIC, 2, 0.0)
    crashed.answered(TOPIC, 1.0 + PROBATION_SECONDS)
    assert not crashed
    crashed.died(TOPIC, 2, 0.0)
    assert not crashed.died(TOPIC, 1, 1.0 + FORGET_SECONDS)


def test_what_another_gateway_says_counts_and_is_news_once():
    crashed = RefusedTopics(300.0)
    assert crashed.refused_elsewhere(TOPIC, 3, 0.0)
    assert crashed.refuses(TOPIC, 3.9)
    assert not crashed.refused_elsewhere(TOPIC, 3, 0.0)
    assert not crashed.refused_elsewhere(TOPIC, 4, 1.0), "it is refused already"
    assert crashed.refused_elsewhere(TOPIC, 4, 5.0)
    assert not crashed.refused_elsewhere(TOPIC, -1, 100.0)
    assert crashed.refused_elsewhere(("/socket", "room:2"), 2**62, 0.0)
    assert crashed.refuses(("/socket", "room:2"), 299.0)
    assert not crashed.refuses(("/socket", "room:2"), 300.0)


def test_what_is_remembered_is_bounded():
    crashed = RefusedTopics(300.0)
    for number in range(MAX_TOPICS + 10):
        crashed.died(("/socket", f"room:{number}"), 2, 0.0)
    remembered = [n for n in range(MAX_TOPICS + 10) if crashed.times(("/socket", f"room:{n}"))]
    assert len(remembered) == MAX_TOPICS
    assert crashed.refuses(("/socket", f"room:{MAX_TOPICS}"), 0.0)


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


def test_a_suspect_that_lives_on_a_worker_for_a_while_counts_as_answered():
    suspects = Suspects()
    for number in range(4):
        suspects.add(number, 0.0)
    assert suspects.due(0.0) == [3]
    assert suspects.in_progress(3)
    assert suspects.due(SURVIVAL_SECONDS) == [2, 1]
    assert not suspects.in_progress(3)
    suspects.answered(3)
    assert suspects.due(SURVIVAL_SECONDS) == [], "late, and counted already"
    suspects.forget(2)
    assert suspects.due(SURVIVAL_SECONDS) == [0]
    assert not suspects.waits(0)
    assert suspects.due(2 * SURVIVAL_SECONDS) == []
    assert not suspects


def test_a_suspect_waits_for_the_moment_of_the_first():
    suspects = Suspects()
    suspects.add("first", 0.4)
    suspects.add("second", 0.2)
    assert suspects.due(0.2) == []
    assert suspects.due(0.4) == ["second"]
    suspects.answered("second")
    assert suspects.due(0.4) == ["first"]
    suspects.add("later", 0.9)
    assert suspects.due(0.8) == []
    for each in ("first", "later"):
        suspects.forget(each)
    assert not suspects


def test_with_another_death_suspects_go_alone_again():
    suspects = Suspects()
    for number in range(10):
        suspects.add(number, 0.0)
    suspects.answered(*suspects.due(0.0))
    assert suspects.due(0.0) == [8, 7]
    suspects.died(8)
    suspects.died(7)
    suspects.add(7, 0.0)
    assert suspects.due(0.0) == [7]
    assert suspects.due(0.0) == []


def test_a_turn_costs_no_look_at_all_the_others():
    suspects = Suspects()
    for number in range(100_000):
        suspects.add(number, 0.0)
    began, going, turns = time.process_time(), suspects.due(0.0), 0
    while going:
        turns += 1
        suspects.answered(going.pop())
        going += suspects.due(0.0)
    assert turns == 100_000
    assert time.process_time() - began < 20.0
