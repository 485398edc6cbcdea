"""The phases in which a worker agrees with the others on who records which topic. Pure.

A view is the set of live workers that can record topics. After each change of the view a worker reviews
its topics: it takes over those of workers that are gone, and hands over those that others should record.
Then it tells the others, and waits until each of them has told it the same about the same view. From then
on it knows that nobody records a topic which it does not know, and may begin to record new ones.

    REVIEWING   the view has changed: topics are being taken over and handed over
    AGREEING    that is done here; other workers have not said so yet
    SETTLED     all workers have the same view, and each has handed over what others should record
    STOPPING    this worker records nothing more
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """The phase of a worker's view; see above."""

    REVIEWING = "reviewing"
    AGREEING = "agreeing"
    SETTLED = "settled"
    STOPPING = "stopping"


class Event(Enum):
    """What happens to a worker's view."""

    VIEW_CHANGED = auto()
    """A worker has come, or is gone."""
    REVIEWED = auto()
    """All topics were taken over or handed over, in the present view."""
    AGREED = auto()
    """All other workers have the same view and have reviewed their topics, or have not in time."""
    STOP = auto()
    """This worker stops."""


class Action(Enum):
    """What follows."""

    TELL_OTHERS = auto()
    """Tell the other workers that the topics were reviewed."""
    BEGIN_WAITING = auto()
    """Begin to record the topics that nobody records and whose broadcasts wait."""


FIRST = (Phase.AGREEING,)

TABLE: Table[Phase, Event, Action] = {
    **{
        (phase, Event.VIEW_CHANGED): (Phase.REVIEWING, ())
        for phase in (Phase.REVIEWING, Phase.AGREEING, Phase.SETTLED)
    },
    (Phase.REVIEWING, Event.REVIEWED): (Phase.AGREEING, (Action.TELL_OTHERS,)),
    (Phase.AGREEING, Event.AGREED): (Phase.SETTLED, (Action.BEGIN_WAITING,)),
    **{(phase, Event.STOP): (Phase.STOPPING, ()) for phase in Phase},
    (Phase.STOPPING, Event.VIEW_CHANGED): (Phase.STOPPING, ()),
    (Phase.STOPPING, Event.REVIEWED): (Phase.STOPPING, ()),
}
