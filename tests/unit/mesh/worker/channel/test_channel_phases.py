"""mesh/worker/channel/lifecycle.py: what may happen in each phase of a channel's life, and what it leads to."""

from itertools import product

import pytest

from mesh.worker.channel.actions import ACTIONS
from mesh.worker.channel.lifecycle import (
    ALIVE,
    AT_ANY_TIME,
    FROM_OUTSIDE,
    OVER,
    TABLE,
    Action,
    Event,
    Phase,
    begin,
)
from tests.support.tables import check_pairs, reachable

TERMINATING = {Action.TERMINATE, Action.TERMINATE_IN_TASK, Action.TERMINATE_AFTER_CALLBACK}
BEGINNINGS = [begin(moved).phase for moved in (False, True)]


def after(*events, moved=False):
    """The phase after these events, and the actions of the last."""
    life, actions = begin(moved), ()
    for event in events:
        actions = life.handle(event)
    return life.phase, actions


@pytest.mark.causes_phase_errors
def test_exactly_what_the_table_allows_is_allowed():
    check_pairs(TABLE, Phase, Event)


def test_every_phase_is_reached():
    assert reachable(TABLE, *BEGINNINGS) == set(Phase)


@pytest.mark.parametrize("phase", Phase, ids=lambda phase: phase.name)
def test_every_phase_comes_to_its_end(phase):
    assert reachable(TABLE, phase) & {Phase.TERMINATED}


@pytest.mark.parametrize("phase", [each for each in Phase if each in OVER], ids=lambda phase: phase.name)
def test_what_is_over_never_lives_again(phase):
    assert not reachable(TABLE, phase) & ALIVE


@pytest.mark.parametrize(
    ("phase", "event"),
    [pair for pair in product(Phase, Event) if pair[1] in FROM_OUTSIDE | AT_ANY_TIME],
    ids=lambda each: each.name,
)
def test_links_and_callbacks_may_end_a_channel_in_every_phase(phase, event):
    assert (phase, event) in TABLE


@pytest.mark.parametrize(
    ("phase", "event"),
    [(a, b) for a, b in product(Phase, Event) if a in OVER and b in FROM_OUTSIDE | AT_ANY_TIME],
    ids=lambda each: each.name,
)
def test_what_is_over_hears_at_most_that_its_client_is_gone(phase, event):
    to, actions = TABLE[phase, event]
    assert to is phase
    assert actions == ((Action.MUTE,) if event is Event.CLIENT_GONE else ())


def test_whoever_enters_an_end_closes_the_mailbox_first():
    for (phase, _), (to, actions) in TABLE.items():
        if phase in ALIVE and to in OVER:
            closing = [each for each in actions if each is not Action.MUTE]
            assert closing[0] in (Action.CLOSE_MAILBOX, Action.RELEASE)


def test_terminate_is_run_once_in_every_life_that_does_not_move():
    for (phase, _), (to, actions) in TABLE.items():
        enters = to is Phase.TERMINATING is not phase
        starts = bool(TERMINATING & set(actions))
        assert starts == (enters or (to is Phase.KILLED is not phase))


def test_the_server_can_do_every_action():
    assert set(Action) == {*ACTIONS, Action.TERMINATE}
    assert {action for _, actions in TABLE.values() for action in actions} == set(Action)


def test_a_leave_is_handled_after_what_came_before_it():
    assert after(Event.ACCEPTED, Event.LEAVE_CAME) == (
        Phase.LEAVING,
        (Action.QUEUE_LAST,),
    )
    assert after(Event.LEAVE_CAME, Event.ACCEPTED)[0] is Phase.LEAVING
    assert after(Event.ACCEPTED, Event.LEAVE_CAME, Event.LEFT)[0] is Phase.TERMINATING


def test_nobody_waits_for_the_join_of_a_client_that_is_gone():
    phase, actions = after(Event.CLIENT_GONE)
    assert phase is Phase.KILLED
    assert actions[0] is Action.MUTE


def test_a_restore_whose_client_is_gone_has_time_to_end():
    phase, actions = after(Event.CLIENT_GONE, moved=True)
    assert phase is Phase.RESTORING_LEFT
    assert actions[-1] is Action.KILL_LATER
    assert after(Event.CLIENT_GONE, Event.RESTORED, moved=True)[0] is Phase.LEAVING


def test_a_client_that_left_and_joins_again_gets_the_answer_to_its_leave():
    assert after(Event.ACCEPTED, Event.REPLACED)[0] is Phase.KILLED
    assert after(Event.ACCEPTED, Event.LEAVE_CAME, Event.REPLACED) == (Phase.LEAVING, (Action.KILL_LATER,))


def test_a_channel_moves_once_its_mailbox_is_empty():
    moving = (Event.ACCEPTED, Event.MOVE_ANNOUNCED, Event.HANDED_OVER, Event.HANDED_OVER)
    assert after(*moving) == (Phase.EMPTYING, (Action.QUEUE_AGAIN,))
    assert after(*moving, Event.EMPTIED, Event.MOVED_OUT)[0] is Phase.MOVED


def test_a_channel_that_has_moved_terminates_here_only_if_its_client_was_gone_before():
    moved = (Event.ACCEPTED, Event.MOVE_ANNOUNCED, Event.EMPTIED, Event.MOVED_OUT)
    assert after(*moved, Event.CLIENT_GONE) == (Phase.MOVED, (Action.MUTE,))
    assert after(*moved, Event.TAKEN_BACK)[0] is Phase.TERMINATING


def test_a_client_that_leaves_during_a_snapshot_ends_its_channel_here():
    snapshotting = (Event.ACCEPTED, Event.MOVE_ANNOUNCED, Event.EMPTIED)
    for last in (Event.LEAVE_CAME, Event.CLIENT_GONE):
        assert after(*snapshotting, last)[0] is Phase.LEAVING
