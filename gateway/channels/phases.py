"""The phases of a channel in its gateway, and which event leads from which to which. Pure.

A channel of a client begins with `phx_join` and ends when the client has been told so, or is gone. In
between three questions decide what may be done with a message, and each phase is one set of answers:

====================  =================  =====================  ============================
phase                 runs on a worker   the client knows that  what the client sends on its
                                         the join is accepted   topic
====================  =================  =====================  ============================
QUEUED                no                 no                     waits
SUBSCRIBING           no                 no                     waits
PLACING               no                 no                     waits
JOINING               it is asked to     no                     waits
JOINED                yes                yes                    goes to the worker
REPLACED              yes                yes                    waits for the next channel
HANDING_OVER          the old one        yes                    waits
MOVING                no                 yes                    waits
RESUMING              it is asked to     yes                    waits
ENDED                 no                 the end, too           is for another channel
====================  =================  =====================  ============================

**Joining.** Broadcasts are held for the channel from SUBSCRIBING on, and its JOIN is sent only when the
subscription is in force (PLACING), so nothing that is broadcast from the join's first moment on is missed.
A join whose worker is lost begins again at SUBSCRIBING: nobody has answered it yet.

**A second join of the topic** replaces the channel, as in Phoenix: the old one is REPLACED until its worker
has ended it, the new one is QUEUED until then. A channel can only be replaced when it is joined, because
until then a second join waits like everything that the client sends.

**Moving to another worker** (docs/protocol.md §3.2) goes HANDING_OVER → MOVING → RESUMING → JOINED. To its
client and to the members of its topic it is joined all the time, so an error on the way is told as
`phx_error`, never as an answer to the join. What the old worker gave is kept until another has accepted it:
when the worker that resumes is lost, the channel is MOVING again.

Events that a worker causes are allowed wherever the channel runs on a worker, because a worker may say
anything, and those that come too late or twice change nothing (`_IGNORED`). Everything else that the table
does not list is a defect of the gateway: PhaseError.
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """Where a channel is in its life.

    Attributes:
        joined: whether the client knows that its join is accepted; so the channel is a member of its topic.
    """

    __hash__ = object.__hash__  # Enum's is Python code, and a join looks up the table four times

    joined: bool

    QUEUED = "queued", False
    """The channel that it replaces has not ended yet."""
    SUBSCRIBING = "subscribing", False
    """The subscription to its topic is not known to be in force."""
    PLACING = "placing", False
    """It waits for a worker, or for its turn."""
    JOINING = "joining", False
    """A worker has its JOIN."""
    JOINED = "joined", True
    """A worker runs it."""
    REPLACED = "replaced", True
    """The client has joined the topic again; its worker is asked to end it."""
    HANDING_OVER = "handing over", True
    """Its worker stops, and is asked for the state."""
    MOVING = "moving", True
    """Its state is here; it waits for another worker."""
    RESUMING = "resuming", True
    """Another worker has the state."""
    ENDED = "ended", False
    """It is over."""

    def __new__(cls, value: str, joined: bool) -> "Phase":
        """A phase, whose value is its name in words."""
        phase = object.__new__(cls)
        phase._value_ = value
        phase.joined = joined
        return phase


class Event(Enum):
    """What happens to a channel."""

    __hash__ = object.__hash__

    OLD_ENDED = auto()
    """The channel that it replaces has ended."""
    SUBSCRIBED = auto()
    """The subscription to its topic is in force."""
    PLACED = auto()
    """A worker was sent its JOIN."""
    UNAVAILABLE = auto()
    """The bus or a worker has not come in time."""
    TOPIC_REFUSED = auto()
    """Joins of its topic end workers, so none is asked."""
    ACCEPTED = auto()
    """Its worker says Joined."""
    UNANSWERABLE = auto()
    """Its worker says Joined, with a response that cannot be sent to this client."""
    REFUSED = auto()
    """Its worker says Refused."""
    JOINED_AGAIN = auto()
    """The client joins the topic again."""
    STOPPING = auto()
    """Its worker says Moving: it stops, and would give the channel away."""
    HANDED_OVER = auto()
    """Its worker says Moved, with the channel's state."""
    CLOSED = auto()
    """Its worker says Closed."""
    CRASHED = auto()
    """Its worker says Crashed, or something that cannot be read; or the gateway has made an error."""
    WORKER_LOST = auto()
    """Its worker is gone."""
    CLIENT_GONE = auto()
    """The connection has ended."""


class Step(Enum):
    """What the session does when the phase has changed, in the order of the table."""

    __hash__ = object.__hash__

    SUBSCRIBE = auto()
    """Let the hub subscribe, and join afterwards."""
    PLACE = auto()
    """Let the hub find a worker."""
    REFUSE = auto()
    """Answer the join with an error: the worker's, or "join crashed"."""
    DELIVER = auto()
    """Deliver the broadcasts that were held for it, and those to come."""
    REPLACE = auto()
    """Ask its worker to end it."""
    START_SUCCESSOR = auto()
    """The channel that has replaced it may begin."""
    HAND_OVER = auto()
    """Ask its worker for the state, and place no more channels there."""
    END_AT_WORKER = auto()
    """Tell its worker, which believes it joined, that it has ended."""
    SAY_CLOSED = auto()
    """Tell the client `phx_close`."""
    SAY_ERROR = auto()
    """Tell the client `phx_error`."""
    COUNT_NOT_MOVED = auto()
    """A channel was lost on its way to another worker."""
    DROP = auto()
    """It is no longer a member of its topic, nor one of the client's channels."""
    RELEASE = auto()
    """Handle what the client has sent meanwhile."""


FIRST = (Phase.SUBSCRIBING, Phase.QUEUED)
"""A channel begins in the second if it replaces another."""

_REFUSE = (Phase.ENDED, (Step.REFUSE, Step.DROP, Step.RELEASE))
_CRASH = (Phase.ENDED, (Step.SAY_ERROR, Step.DROP))
_NOT_MOVED = (Phase.ENDED, (Step.SAY_ERROR, Step.COUNT_NOT_MOVED, Step.DROP, Step.RELEASE))
_CLOSED_ON_THE_WAY = (Phase.ENDED, (Step.SAY_CLOSED, Step.DROP, Step.RELEASE))
_MAKE_ROOM = (Phase.ENDED, (Step.DROP, Step.START_SUCCESSOR))

_IGNORED = {
    Phase.JOINING: (Event.STOPPING, Event.HANDED_OVER),
    Phase.JOINED: (Event.ACCEPTED, Event.REFUSED, Event.HANDED_OVER),
    Phase.REPLACED: (Event.ACCEPTED, Event.REFUSED, Event.STOPPING, Event.HANDED_OVER),
    Phase.HANDING_OVER: (Event.STOPPING,),
    Phase.RESUMING: (Event.STOPPING,),
}
"""What a worker says too early, too late or twice."""

TABLE: Table[Phase, Event, Step] = {
    # A join
    (Phase.QUEUED, Event.OLD_ENDED): (Phase.SUBSCRIBING, (Step.SUBSCRIBE,)),
    (Phase.QUEUED, Event.CRASHED): _REFUSE,
    (Phase.SUBSCRIBING, Event.SUBSCRIBED): (Phase.PLACING, (Step.PLACE,)),
    (Phase.SUBSCRIBING, Event.UNAVAILABLE): _REFUSE,
    (Phase.SUBSCRIBING, Event.CRASHED): _REFUSE,
    (Phase.PLACING, Event.PLACED): (Phase.JOINING, ()),
    (Phase.PLACING, Event.UNAVAILABLE): _REFUSE,
    (Phase.PLACING, Event.TOPIC_REFUSED): _REFUSE,
    (Phase.PLACING, Event.CRASHED): _REFUSE,
    (Phase.JOINING, Event.ACCEPTED): (Phase.JOINED, (Step.DELIVER, Step.RELEASE)),
    (Phase.JOINING, Event.UNANSWERABLE): (
        Phase.ENDED,
        (Step.END_AT_WORKER, Step.REFUSE, Step.DROP, Step.RELEASE),
    ),
    (Phase.JOINING, Event.REFUSED): _REFUSE,
    (Phase.JOINING, Event.CLOSED): _REFUSE,
    (Phase.JOINING, Event.CRASHED): _REFUSE,
    (Phase.JOINING, Event.TOPIC_REFUSED): _REFUSE,
    (Phase.JOINING, Event.WORKER_LOST): (Phase.SUBSCRIBING, (Step.SUBSCRIBE,)),
    # A joined channel, and its end
    (Phase.JOINED, Event.CLOSED): (Phase.ENDED, (Step.SAY_CLOSED, Step.DROP)),
    (Phase.JOINED, Event.CRASHED): _CRASH,
    (Phase.JOINED, Event.WORKER_LOST): _CRASH,
    (Phase.JOINED, Event.JOINED_AGAIN): (Phase.REPLACED, (Step.REPLACE,)),
    (Phase.JOINED, Event.STOPPING): (Phase.HANDING_OVER, (Step.HAND_OVER,)),
    (Phase.REPLACED, Event.CLOSED): _MAKE_ROOM,
    (Phase.REPLACED, Event.CRASHED): _MAKE_ROOM,
    (Phase.REPLACED, Event.WORKER_LOST): _MAKE_ROOM,
    # A move to another worker
    (Phase.HANDING_OVER, Event.HANDED_OVER): (Phase.MOVING, (Step.PLACE,)),
    (Phase.HANDING_OVER, Event.ACCEPTED): (Phase.JOINED, (Step.DELIVER, Step.RELEASE)),
    (Phase.HANDING_OVER, Event.CLOSED): _CLOSED_ON_THE_WAY,
    (Phase.HANDING_OVER, Event.CRASHED): _NOT_MOVED,
    (Phase.HANDING_OVER, Event.REFUSED): _NOT_MOVED,
    (Phase.HANDING_OVER, Event.WORKER_LOST): _NOT_MOVED,
    (Phase.MOVING, Event.PLACED): (Phase.RESUMING, ()),
    (Phase.MOVING, Event.UNAVAILABLE): _NOT_MOVED,
    (Phase.MOVING, Event.TOPIC_REFUSED): _NOT_MOVED,
    (Phase.MOVING, Event.CRASHED): _NOT_MOVED,
    (Phase.RESUMING, Event.ACCEPTED): (Phase.JOINED, (Step.DELIVER, Step.RELEASE)),
    (Phase.RESUMING, Event.HANDED_OVER): (Phase.MOVING, (Step.PLACE,)),
    (Phase.RESUMING, Event.CLOSED): _CLOSED_ON_THE_WAY,
    (Phase.RESUMING, Event.CRASHED): _NOT_MOVED,
    (Phase.RESUMING, Event.REFUSED): _NOT_MOVED,
    (Phase.RESUMING, Event.TOPIC_REFUSED): _NOT_MOVED,
    (Phase.RESUMING, Event.WORKER_LOST): (Phase.MOVING, (Step.PLACE,)),
    # The client is gone: nobody is to be told
    **{
        (phase, Event.CLIENT_GONE): (
            Phase.ENDED,
            (Step.COUNT_NOT_MOVED,) if phase is Phase.MOVING else (),
        )
        for phase in Phase
        if phase is not Phase.ENDED
    },
    **{(phase, event): (phase, ()) for phase, events in _IGNORED.items() for event in events},
}
