"""mesh/client/timers.py: deadlines that are attributes of what they are for."""

from types import SimpleNamespace

from mesh.client.timers import Timers


def test_what_is_due_comes_in_order_and_is_taken_off():
    timers, one, two = Timers(), SimpleNamespace(), SimpleNamespace()
    timers.arm(two, "due", 2.0)
    timers.arm(one, "due", 1.0)
    assert (one.due, two.due, timers.next) == (1.0, 2.0, 1.0)
    assert list(timers.due(2.0)) == [(one, "due"), (two, "due")]
    assert (one.due, two.due, timers.next) == (None, None, None)


def test_a_deadline_that_was_taken_back_or_set_anew_does_not_come():
    timers, push = Timers(), SimpleNamespace()
    timers.arm(push, "due", 1.0)
    push.due = None
    assert timers.next is None
    timers.arm(push, "due", 2.0)
    timers.arm(push, "due", 4.0)
    assert list(timers.due(3.0)) == []
    assert timers.next == 4.0


def test_what_is_armed_while_others_are_due_comes_too():
    timers, push = Timers(), SimpleNamespace(again_at=None)
    timers.arm(push, "due", 1.0)
    seen = []
    for _, name in timers.due(2.0):
        seen.append(name)
        if name == "due":
            timers.arm(push, "again_at", 2.0)
    assert seen == ["due", "again_at"]
