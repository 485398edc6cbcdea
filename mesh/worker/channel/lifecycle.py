"""The lifecycle of one channel in a worker: its phases, its events, and the transitions. Pure.

A channel starts because its client joins (JOINING: `join` runs), or because another worker handed it over
(RESTORING: `restore` runs). Then it is JOINED, until one of three things happens:

- It ends by a message that it handles: a leave, the loss of its client, `stop`, or an exception. Then
  `terminate` runs (TERMINATING) and the channel is TERMINATED.
- It is ended from outside, whatever it is doing: KILLED. Waiting messages are not handled any more, and the
  running callback is cancelled; `terminate` runs once that callback has ended, or not at all if it does not
  end within `worker.kill_seconds`.
- Its worker stops and hands it over (docs/protocol.md §3.2): MOVING while its gateway may still send,
  EMPTYING while its mailbox is not empty, SNAPSHOTTING while `snapshot` runs, then MOVED. `terminate` does
  not run, unless it turns out that its client was gone before its gateway knew of the move (TAKEN_BACK).

What must hold in every phase, and how the table ensures it:

- A client's last message (a leave, or that it is gone) is handled after everything that arrived before it.
  So it is queued, and from then on the channel is LEAVING: pushes no longer wait for a paused topic, and a
  running snapshot is abandoned. While `join` or `restore` runs, JOINING_LEFT and RESTORING_LEFT record the
  last message.
- Nobody waits for the join of a client that is gone, so that kills the channel. A restore is different:
  `terminate` needs the state that `restore` is about to receive, so `restore` may take
  `worker.kill_seconds`.
- A client that joins again kills its old channel, as in Phoenix. If it left before, its leave must still be
  answered: the channel may take `worker.kill_seconds` for that.
- A killed callback may end with an exception, and a timer may fire late. Therefore every phase allows the
  events of FROM_OUTSIDE and AT_ANY_TIME; in the phases of OVER they have no effect, except
  that CLIENT_GONE mutes the channel.

Nothing else is allowed: the server (server.py) treats a PhaseError as a crash of this one channel.
"""

from enum import Enum
from typing import Any

import msgspec

from mesh.link import commands
from mesh.phases import Phases, Table


class Phase(Enum):
    """The phase of a channel."""

    # Enum's own __hash__ is written in Python: each look-up in TABLE would cost two more calls.
    __hash__ = object.__hash__

    JOINING = "joining"
    JOINING_LEFT = "joining, and its client has left"
    RESTORING = "restoring"
    RESTORING_LEFT = "restoring, and its client has left or is gone"
    JOINED = "joined"
    MOVING = "moving"
    EMPTYING = "emptying its mailbox"
    SNAPSHOTTING = "snapshotting"
    LEAVING = "leaving"
    KILLED = "killed"
    TERMINATING = "terminating"
    MOVED = "moved"
    TERMINATED = "terminated"


class Event(Enum):
    """An event in the life of a channel."""

    __hash__ = object.__hash__

    LEAVE_CAME = "its client leaves"
    CLIENT_GONE = "its client is gone"
    REPLACED = "its client joins again"
    KILLED = "the worker stops, its mailbox overflows, a command for it is malformed, or its time is over"

    ACCEPTED = "join accepted"
    REFUSED = "join refused"
    RESTORED = "restore returned"

    MOVE_ANNOUNCED = "the gateway was asked to send no more"
    HANDED_OVER = "the gateway sends no more, and something waits"
    EMPTIED = "the gateway sends no more, and nothing waits"
    MOVED_OUT = "its state was sent"
    TAKEN_BACK = "its client was gone before it moved"

    LEFT = "its turn to end: the last message of its client is handled"
    STOPPED = "stop was called, or snapshot returned None"
    CRASHED = "a callback raised"

    CALLBACK_ENDED = "the callback of a killed channel ended"
    CALLBACK_STUCK = "a callback of a killed channel did not end in time"
    TERMINATED = "terminate returned"


class Action(Enum):
    """What is to be done."""

    __hash__ = object.__hash__

    QUEUE_LAST = "queue the client's last message behind all that it pushed"
    QUEUE_AGAIN = "queue the handover behind all that waits"
    MUTE = "send nothing to the client any longer"
    CLOSE_MAILBOX = "handle nothing of what waits"
    CANCEL_CALLBACK = "cancel the callback that runs"
    KILL_LATER = "kill the channel if it has not ended within worker.kill_seconds"
    SAY = "tell the client how the channel ends"
    RELEASE = "close its mailbox, end its timers and subscriptions; nothing finds it any longer"
    TERMINATE = "run terminate"
    TERMINATE_IN_TASK = "run terminate in a task"
    TERMINATE_AFTER_CALLBACK = "run terminate in a task, once the callback that runs has ended"
    RELEASE_FOR_GOOD = "end also what terminate has subscribed to, and all its presences"


class Ending(msgspec.Struct, frozen=True):
    """The end of a channel, as its actions need to know it.

    Attributes:
        reason: the argument of `terminate`.
        command: the command that informs the client; None: it is not informed.
        message: the message that is queued.
    """

    reason: Any = None
    command: type[commands.Closed] | type[commands.Crashed] | None = None
    message: Any = None


OVER = frozenset({Phase.KILLED, Phase.TERMINATING, Phase.MOVED, Phase.TERMINATED})
ALIVE = frozenset(Phase) - OVER

FROM_OUTSIDE = frozenset({Event.LEAVE_CAME, Event.CLIENT_GONE, Event.REPLACED, Event.KILLED})
AT_ANY_TIME = frozenset({Event.LEFT, Event.STOPPED, Event.CRASHED})

_LEFT = {
    Phase.JOINING: Phase.JOINING_LEFT,
    Phase.JOINING_LEFT: Phase.JOINING_LEFT,
    Phase.RESTORING: Phase.RESTORING_LEFT,
    Phase.RESTORING_LEFT: Phase.RESTORING_LEFT,
    Phase.JOINED: Phase.LEAVING,
    Phase.MOVING: Phase.LEAVING,
    Phase.EMPTYING: Phase.LEAVING,
    Phase.SNAPSHOTTING: Phase.LEAVING,
    Phase.LEAVING: Phase.LEAVING,
}

_KILL = Phase.KILLED, (Action.CLOSE_MAILBOX, Action.CANCEL_CALLBACK, Action.TERMINATE_AFTER_CALLBACK)
_END = Phase.TERMINATING, (Action.RELEASE, Action.SAY, Action.TERMINATE)

TABLE: Table[Phase, Event, Action] = {
    # The client's last message
    **{(phase, Event.LEAVE_CAME): (left, (Action.QUEUE_LAST,)) for phase, left in _LEFT.items()},
    **{
        (phase, Event.CLIENT_GONE): (left, (Action.MUTE, Action.QUEUE_LAST))
        for phase, left in _LEFT.items()
    },
    **{
        (phase, Event.CLIENT_GONE): (Phase.KILLED, (Action.MUTE, *_KILL[1]))
        for phase in (Phase.JOINING, Phase.JOINING_LEFT)
    },
    **{
        (phase, Event.CLIENT_GONE): (
            Phase.RESTORING_LEFT,
            (Action.MUTE, Action.QUEUE_LAST, Action.KILL_LATER),
        )
        for phase in (Phase.RESTORING, Phase.RESTORING_LEFT)
    },
    # Ends from outside
    **{(phase, Event.KILLED): _KILL for phase in ALIVE},
    **{(phase, Event.REPLACED): _KILL for phase in ALIVE},
    **{(phase, Event.REPLACED): (phase, (Action.KILL_LATER,)) for phase in _LEFT.values()},
    # Ends by a handled message
    **{(phase, event): _END for phase in ALIVE for event in AT_ANY_TIME},
    # The start
    (Phase.JOINING, Event.ACCEPTED): (Phase.JOINED, ()),
    (Phase.JOINING_LEFT, Event.ACCEPTED): (Phase.LEAVING, ()),
    (Phase.JOINING, Event.REFUSED): _END,
    (Phase.JOINING_LEFT, Event.REFUSED): _END,
    (Phase.RESTORING, Event.RESTORED): (Phase.JOINED, ()),
    (Phase.RESTORING_LEFT, Event.RESTORED): (Phase.LEAVING, ()),
    # Moving
    (Phase.JOINED, Event.MOVE_ANNOUNCED): (Phase.MOVING, ()),
    **{
        (phase, Event.HANDED_OVER): (Phase.EMPTYING, (Action.QUEUE_AGAIN,))
        for phase in (Phase.JOINED, Phase.MOVING, Phase.EMPTYING)
    },
    **{
        (phase, Event.EMPTIED): (Phase.SNAPSHOTTING, ())
        for phase in (Phase.JOINED, Phase.MOVING, Phase.EMPTYING)
    },
    (Phase.LEAVING, Event.HANDED_OVER): (Phase.LEAVING, ()),
    (Phase.SNAPSHOTTING, Event.MOVED_OUT): (Phase.MOVED, (Action.RELEASE,)),
    (Phase.MOVED, Event.TAKEN_BACK): (Phase.TERMINATING, (Action.MUTE, Action.TERMINATE_IN_TASK)),
    # The end
    (Phase.KILLED, Event.CALLBACK_ENDED): (Phase.TERMINATING, (Action.RELEASE, Action.TERMINATE)),
    (Phase.KILLED, Event.CALLBACK_STUCK): (Phase.TERMINATED, (Action.RELEASE, Action.RELEASE_FOR_GOOD)),
    (Phase.TERMINATING, Event.TERMINATED): (Phase.TERMINATED, (Action.RELEASE_FOR_GOOD,)),
    (Phase.TERMINATED, Event.CALLBACK_STUCK): (Phase.TERMINATED, ()),  # `terminate` was the callback
    # Late events
    **{(phase, event): (phase, ()) for phase in OVER for event in FROM_OUTSIDE | AT_ANY_TIME},
    **{(phase, Event.CLIENT_GONE): (phase, (Action.MUTE,)) for phase in OVER},
}

FIRST = (Phase.JOINING, Phase.RESTORING)

Life = Phases[Phase, Event, Action]


def begin(moved: bool) -> Life:
    """Return the lifecycle of a channel that its client joins, or that another worker handed over."""
    return Phases(TABLE, Phase.RESTORING if moved else Phase.JOINING)
