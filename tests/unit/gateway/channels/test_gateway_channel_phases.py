"""gateway/channels/phases.py: every phase and every event."""

import itertools

import pytest

from mesh.app.channel import Channel
from mesh.app.routes import Route
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.phases import FIRST, TABLE, Event, Phase, Step
from mesh.protocol.messages import JSON, Message
from tests.support.tables import check_pairs, reachable

PAIRS = list(itertools.product(Phase, Event))
ON_A_WORKER = {Phase.JOINING, Phase.JOINED, Phase.REPLACED, Phase.HANDING_OVER, Phase.RESUMING}
FROM_A_WORKER = {
    Event.ACCEPTED,
    Event.REFUSED,
    Event.CLOSED,
    Event.CRASHED,
    Event.STOPPING,
    Event.HANDED_OVER,
}


def after(phase):
    """The phases to which one event leads."""
    return {to for (before, _), (to, _) in TABLE.items() if before is phase}


@pytest.mark.causes_phase_errors
def test_every_pair_is_in_the_table_or_an_error_that_changes_nothing():
    check_pairs(TABLE, Phase, Event)


def test_every_phase_can_be_reached_and_every_one_can_end():
    assert reachable(TABLE, *FIRST) == set(Phase)
    assert all(Phase.ENDED in reachable(TABLE, phase) for phase in Phase)


def test_nothing_happens_to_a_channel_that_has_ended():
    assert after(Phase.ENDED) == set()


def test_a_worker_may_say_anything_of_a_channel_that_it_runs():
    assert {(phase, event) for phase in ON_A_WORKER for event in FROM_A_WORKER} <= set(TABLE)


@pytest.mark.parametrize("phase", [each for each in Phase if each is not Phase.ENDED])
def test_a_client_may_go_and_a_defect_may_end_a_channel_at_any_time_and_nobody_hears_of_the_first(phase):
    assert TABLE[phase, Event.CLIENT_GONE][0] is Phase.ENDED
    assert set(TABLE[phase, Event.CLIENT_GONE][1]) <= {Step.COUNT_NOT_MOVED}
    assert TABLE[phase, Event.CRASHED][0] is Phase.ENDED


def test_a_join_is_refused_only_before_it_is_accepted_and_an_end_is_told_only_afterwards():
    for (phase, _), (_, steps) in TABLE.items():
        assert not phase.joined or Step.REFUSE not in steps
        assert phase.joined or not {Step.SAY_CLOSED, Step.SAY_ERROR} & set(steps)


def test_whoever_ends_is_dropped_and_what_waited_is_released():
    for (phase, event), (to, steps) in TABLE.items():
        if event is Event.CLIENT_GONE:
            continue
        assert (Step.DROP in steps) == (to is Phase.ENDED)
        waited = phase not in (Phase.JOINED, Phase.REPLACED)
        assert (Step.RELEASE in steps) == (waited and to in (Phase.ENDED, Phase.JOINED))


def test_a_channel_begins_with_its_subscription_or_behind_the_one_that_it_replaces():
    join = Message("1", "1", "room:1", "phx_join", JSON, b"{}")
    first = GatewayChannel(1, Route("room:*", Channel), join, None)
    second = GatewayChannel(2, Route("room:*", Channel), join, None, replaces=first)
    assert (first.phase, second.phase) == FIRST == (Phase.SUBSCRIBING, Phase.QUEUED)
