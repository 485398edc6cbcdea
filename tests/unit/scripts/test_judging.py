"""scripts/chaos/judging.py: what a reader is owed, and what is lost, doubled or out of order."""

import sys

from tests.support.processes import ROOT

sys.path.append(str(ROOT / "scripts"))

from chaos.history import Fault, History, Membership, Sent
from chaos.judging import GRACE_SECONDS, OUTCOMES, THAW_SECONDS, judge
from chaos.report import NO_FAULT, by_fault, by_source

TOPIC = "room:0"


def history(stays, sent=10, faults=(), confirmed_after=0.01):
    """The bus publishes number n at second n to one reader; nobody pushes."""
    messages = [Sent(n, n + confirmed_after) for n in range(1, sent + 1)]
    return History(
        sent={("bus", TOPIC): messages, ("pushes", TOPIC): []},
        memberships={("reader 1", TOPIC): stays},
        gateways={"reader 1": 0},
        faults=list(faults),
    )


def stay(since, until, *numbers):
    """Each number is delivered a tenth of a second after it was published."""
    return Membership(since, until, [("bus", number, number + 0.1) for number in numbers])


def fates(history):
    """Of what was published by the bus, by when."""
    verdict = judge(history)[0]
    return {fate: verdict.published[fate] for fate in OUTCOMES if verdict.published[fate]}


def frozen(at, over, kind="gateways", index=0):
    return Fault("freeze", kind, index, at, over)


def test_what_arrives_once_and_in_order_is_delivered():
    story = history([stay(0.5, float("inf"), *range(1, 11))])
    assert fates(story) == {"delivered": list(range(1, 11))}
    assert judge(story)[0].delays[0] == (1, 1.1 - 1)


def test_what_a_reader_does_not_get_while_it_is_joined_is_lost():
    assert fates(history([stay(0.5, float("inf"), *range(1, 5), *range(6, 11))]))["lost"] == [5]


def test_what_comes_again_is_doubled():
    assert fates(history([stay(0.5, 4.0, 1, 2, 2, 3)])) == {"delivered": [1, 2, 3], "doubled": [2]}


def test_what_comes_after_a_later_one_is_misordered():
    story = history([stay(0.5, 4.0, 1, 3, 2)])
    assert fates(story) == {"delivered": [1, 3, 2], "misordered": [2]}
    assert judge(story)[0].misordered_at == [2.1]


def test_what_comes_in_two_stays_is_neither_doubled_nor_misordered():
    story = history([stay(0.5, 3.2, 1, 2, 3), stay(3.3, 4.2, 2, 4)])
    assert fates(story) == {"delivered": [1, 2, 3, 2, 4]}


def test_nobody_is_owed_what_was_published_while_it_was_not_joined():
    assert fates(history([stay(0.5, 3.9, 1, 2, 3), stay(6.5, float("inf"), 7, 8, 9, 10)])) == {
        "delivered": [1, 2, 3, 7, 8, 9, 10]
    }


def test_what_was_published_before_a_join_and_arrives_after_it_is_delivered():
    assert fates(history([stay(2.5, 4.0, 2, 3)])) == {"delivered": [2, 3]}


def test_what_was_confirmed_only_shortly_before_a_stay_ended_is_not_owed():
    confirmed, delay = 3.01, 0.1
    assert "lost" not in fates(history([stay(0.5, confirmed + GRACE_SECONDS + delay - 0.01, 1, 2)]))
    assert fates(history([stay(0.5, confirmed + GRACE_SECONDS + delay + 0.01, 1, 2)]))["lost"] == [3]


def test_what_may_have_been_on_its_way_depends_on_how_long_other_messages_were():
    story = history([stay(0.5, 8.0, 1, 2)])
    assert fates(story)["lost"] == [3, 4, 5, 6, 7]
    story.sent["bus", "room:1"] = [Sent(3.0, 3.1), Sent(4.0, 4.1)]
    story.sent["pushes", "room:1"] = []
    story.memberships["reader 1", "room:1"] = [
        Membership(0.5, float("inf"), [("bus", 1, 3.1), ("bus", 2, 8.3)])
    ]
    assert fates(story)["lost"] == [3], "what came through the same gateway at 8.3 had needed 4.3 seconds"


def test_what_was_never_confirmed_is_not_owed():
    story = history([stay(0.5, float("inf"), *range(1, 10))])
    story.sent["bus", TOPIC][9].confirmed = None
    assert "lost" not in fates(story)


def test_what_was_published_to_a_frozen_gateway_that_lost_its_clients_is_not_owed():
    ended = stay(0.5, 8.0, 1, 2, 3)
    assert fates(history([ended]))["lost"] == [4, 5, 6, 7]
    assert "lost" not in fates(history([ended], faults=[frozen(4.0, 7.5)]))
    assert fates(history([ended], faults=[frozen(5.5, 7.5)]))["lost"] == [4], "before it froze"


def test_a_frozen_gateway_excuses_only_stays_that_ended_by_it():
    ended = stay(0.5, 8.0, 1, 2, 3)
    for fault in (
        frozen(4.0, 8.0 - THAW_SECONDS),
        frozen(8.5, 9.5),
        frozen(4.0, 7.5, kind="workers"),
        frozen(4.0, 7.5, index=1),
        Fault("kill", "gateways", 0, 4.0, 7.5),
    ):
        assert fates(history([ended], faults=[fault]))["lost"] == [4, 5, 6, 7]
    lasting = stay(0.5, float("inf"), *range(1, 4), *range(5, 11))
    assert fates(history([lasting], faults=[frozen(4.5, 7.5)]))["lost"] == [4], "it kept its clients"


def test_what_reached_another_reader_only_after_a_stay_had_ended_was_on_its_way():
    story = history([stay(0.5, 8.0, 1, 2, 3, 4)])
    assert fates(story)["lost"] == [5, 6, 7]
    late = [("bus", 5, 6.0), ("bus", 6, 8.0 - GRACE_SECONDS + 0.1), ("bus", 7, 9.0)]
    story.memberships["reader 2", TOPIC] = [Membership(4.5, float("inf"), late)]
    story.gateways["reader 2"] = 1
    assert fates(story)["lost"] == [5]


def test_a_push_that_was_not_acknowledged_may_come_at_any_time():
    story = history([stay(0.5, 4.0, 1, 3, 2)])
    story.sent["bus", TOPIC][1].confirmed = None
    assert "misordered" not in fates(story)


def test_each_source_is_judged_for_itself():
    story = history(
        [Membership(0.5, float("inf"), [("bus", 1, 1.1), ("pushes", 1, 1.6), ("bus", 2, 2.1)])], sent=2
    )
    story.sent["pushes", TOPIC] = [Sent(1.5, 1.7), Sent(2.5, 2.7)]
    rows = by_source(story, judge(story))
    assert rows["bus"] == {"sent": 2, "delivered": 2, "lost": 0, "doubled": 0, "misordered": 0}
    assert rows["pushes"] == {"sent": 2, "delivered": 1, "lost": 1, "doubled": 0, "misordered": 0}


def test_messages_are_counted_by_what_was_done_when_they_were_published():
    kills = [Fault("kill", "proxies", 0, 3.05, 4.5), Fault("kill", "proxies", 1, 7.5, 8.5)]
    story = history([stay(0.5, float("inf"), 1, 2, 3, 5, 6, 7, 8, 9, 10)], faults=kills)
    rows = by_fault(story, judge(story))
    assert list(rows) == ["kill proxy", NO_FAULT]
    killed = rows["kill proxy"]
    assert (killed["times"], killed["sent"], killed["delivered"], killed["lost"]) == (2, 3, 2, 1)
    assert (rows[NO_FAULT]["sent"], rows[NO_FAULT]["lost"]) == (7, 0)
    assert round(killed["worst_gap_ms"]) == 100
