"""Which messages a trace follows when gateways begin to watch one after another."""

from mesh.bus.trace_call import GatewayTrace, Outcome, Trace, TraceAnswer, traced_messages


def seen(gateway, *messages, members=1):
    outcomes = [
        Outcome(origin, sequence, "e", 2, arrived, members, members, {}, {}, 0, 0)
        for origin, sequence, arrived in messages
    ]
    return GatewayTrace(gateway, TraceAnswer(members, outcomes))


def test_the_first_that_came_anywhere_in_their_order():
    one = seen("one", ("a", 7, 1.0), ("b", 3, 2.5), ("a", 8, 3.0))
    two = seen("two", ("b", 3, 2.0), ("a", 7, 2.2), ("a", 8, 3.1))
    assert traced_messages([one, two], 2) == [("a", 7), ("b", 3)]
    assert traced_messages([one, two], 9) == [("a", 7), ("b", 3), ("a", 8)]


def test_what_passed_a_gateway_that_did_not_watch_yet_is_left_out():
    early = seen("early", ("a", 7, 1.0), ("a", 8, 2.0), ("b", 3, 2.1), ("a", 9, 3.0))
    late = seen("late", ("a", 9, 3.1), ("b", 3, 3.2))
    assert traced_messages([early, late], 2) == [("b", 3), ("a", 9)]
    assert Trace(traced_messages([early, late], 2), {}, [early, late]).settled


def test_gateways_without_the_message_or_an_answer_hide_nothing():
    one = seen("one", ("a", 7, 1.0))
    others = [seen("empty", members=0), seen("behind"), GatewayTrace("silent", None)]
    assert traced_messages([one, *others], 1) == [("a", 7)]
    assert not Trace([("a", 7)], {}, [one, *others]).settled
    assert Trace([("a", 7)], {}, [one, others[0], others[2]]).settled
