"""mesh/bus/zeromq/proxy_connection_phases.py: every pair of a phase and an event."""

import pytest

from mesh.bus.zeromq.proxy_connection_phases import (
    ANSWERING,
    CONNECTED,
    TABLE,
    UNAVAILABLE,
    Action,
    Event,
    Phase,
)
from tests.support.tables import check_pairs, reachable

WITHOUT_SOCKET = {Phase.CLOSED, Phase.BACKING_OFF}


@pytest.mark.causes_phase_errors
def test_every_pair_is_in_the_table_or_an_error():
    check_pairs(TABLE, Phase, Event)


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_is_reached_and_can_be_closed(phase):
    assert phase in reachable(TABLE, Phase.CLOSED)
    assert TABLE[phase, Event.CLOSE][0] is Phase.CLOSED


def test_a_socket_is_made_and_closed_once():
    for (before, event), (after, actions) in TABLE.items():
        closes = {Action.DISCARD_SOCKET, Action.FLUSH_SOCKET} & set(actions)
        if before not in WITHOUT_SOCKET:
            assert bool(closes) == (after in WITHOUT_SOCKET), (before, event)
        if event is Event.OPENED:
            assert before in WITHOUT_SOCKET
            assert after not in WITHOUT_SOCKET


def test_whoever_has_a_socket_can_lose_it_and_tries_again():
    for phase in set(Phase) - WITHOUT_SOCKET:
        after, actions = TABLE[phase, Event.ENDED]
        assert after is Phase.BACKING_OFF
        assert actions[-2:] == (Action.RETRY_LATER, Action.REPORT_LOST)
        assert (Action.COUNT_INTERRUPTION in actions) == (phase in CONNECTED)


def test_only_an_echo_confirms_and_it_confirms_whatever_is_connected():
    for (_, event), (after, _) in TABLE.items():
        if after is Phase.CONFIRMED:
            assert event is Event.ECHOED
    assert {phase for phase, event in TABLE if event is Event.ECHOED} == CONNECTED - {Phase.CONFIRMED}


def test_the_owner_is_told_whenever_nobody_need_wait_any_longer():
    for (before, event), (after, actions) in TABLE.items():
        lost = before not in UNAVAILABLE and after in UNAVAILABLE
        assert lost <= (Action.REPORT_LOST in actions), (before, event)


def test_who_is_waited_for_answers_in_time_or_is_not_waited_for():
    waiting = {Phase.CONNECTING, Phase.UNCONFIRMED, Phase.INTERRUPTED}
    assert {phase for phase, event in TABLE if event is Event.OVERDUE} == waiting
    for (_, event), (after, actions) in TABLE.items():
        assert (Action.START_TIMEOUT in actions) == (after in waiting), event


def test_what_answers_is_connected():
    assert ANSWERING <= CONNECTED
    assert not ANSWERING & UNAVAILABLE
