"""The phases of a channel in its gateway, as a table: (phase, event) → (next phase, steps). Pure.

A client's channel begins with `phx_join`. It ends once the client has been sent the end, or has
disconnected. In between, three questions decide what may be done with a message, and each phase is one
combination of answers:

============  =====================  ===========================  ===================================
phase         runs on a worker       the client was informed      messages of the client on its topic
                                     that the join is accepted
============  =====================  ===========================  ===================================
QUEUED        no                     no                           wait
SUBSCRIBING   no                     no                           wait
PLACING       no                     no                           wait
JOINING       it has the JOIN        no                           wait
JOINED        yes                    yes                          go to the worker
REPLACED      yes                    yes                          wait for the next channel
HANDING_OVER  on the old one         yes                          wait
MOVING        no                     yes                          wait
RESUMING      it has the JOIN        yes                          wait
ENDED         no                     yes, and of the end          belong to another channel, if any
============  =====================  ===========================  ===================================

**Joining: QUEUED → SUBSCRIBING → PLACING → JOINING → JOINED.** The subscription must be in force before the
JOIN is sent, so that no broadcast made from the start of `join` on is missed; a probe on the bus proves it
(mesh/bus/zeromq/barrier.py). From SUBSCRIBING on, broadcasts are held for the channel; they are delivered
after the reply to the join, except for those that the worker made before `join` returned, which `since` in
Joined identifies (gateway/ordering/ordering.py). A join whose worker is lost returns to SUBSCRIBING,
because it has not been answered. If the client asked for the topic's history, broadcasts are held until it
has what it missed, in whatever phase the channel is then (gateway/channels/recovery.py).

**A second join of the same topic** replaces the channel, as in Phoenix. The old channel is REPLACED until
its worker has ended it; until then the new one is QUEUED. Only a JOINED channel can be replaced, because in
every other phase a second join waits like every other message of the client. The client receives the end of
the old channel after the reply to the new join.

**Moving: HANDING_OVER → MOVING → RESUMING → JOINED** (docs/protocol.md §3.2). Handover must be the last
command that the old worker receives for the channel, and Moved the last one that it sends; both links keep
their order, so no number is needed. For its client and for the members of its topic, the channel is joined
throughout, so a failure on the way is sent as `phx_error`, never as a reply to the join. The state is kept
until another worker has accepted it: if the worker that resumes the channel is lost, the channel is MOVING
again.

**How long a channel can stay in a phase.** Each wait has a limit, here or on the side that is waited for:

============  =======================================================================================
SUBSCRIBING   `gateway.bus_wait_seconds`; the number of waiting joins by `gateway.max_joins_waiting`
PLACING       `gateway.worker_wait_seconds`; their number by the same setting; a join that was on a
              worker that died also waits for its turn (gateway/joins/suspects.py)
JOINING       the life of the link; the worker applies `worker.join_timeout_seconds` if that is set
REPLACED      the life of the link; the worker cancels callbacks after `worker.kill_seconds`
QUEUED        as long as the channel that it replaces is REPLACED
HANDING_OVER  the life of the link; the worker ends the channel after `worker.kill_seconds`
MOVING        `gateway.worker_wait_seconds`
RESUMING      the life of the link
============  =======================================================================================

A link ends when its connection does, or after `link.heartbeat_timeout_seconds` of silence. What the client
sends meanwhile is limited by `gateway.max_pending_bytes`, above which its connection is not read.

**Which pairs are allowed.** Events that a worker causes are allowed in every phase in which the channel
runs on a worker, because a worker may send anything; those that are too early, too late or repeated change
nothing (`_IGNORED`). Any other pair that the table does not contain is a defect of the gateway, and raises
PhaseError.
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """The phases of a channel.

    Attributes:
        joined: whether the client was informed that its join is accepted, which makes the channel a
            member of its topic.
    """

    __hash__ = object.__hash__  # Enum's is Python code, and a join looks up the table four times

    joined: bool

    QUEUED = "queued", False
    """It waits for the end of the channel that it replaces."""
    SUBSCRIBING = "subscribing", False
    """The subscription to its topic is not yet known to be in force."""
    PLACING = "placing", False
    """It waits for a worker, or for its turn to be sent to one."""
    JOINING = "joining", False
    """A worker has its JOIN."""
    JOINED = "joined", True
    """A worker runs it."""
    REPLACED = "replaced", True
    """The client has joined the topic again; its worker has been asked to end it."""
    HANDING_OVER = "handing over", True
    """Its worker is stopping, and has been asked for its state."""
    MOVING = "moving", True
    """The gateway has its state; it waits for another worker."""
    RESUMING = "resuming", True
    """Another worker has its JOIN, with the state."""
    ENDED = "ended", False
    """It has ended."""

    def __new__(cls, value: str, joined: bool) -> "Phase":
        """Make a phase, whose value is its name in words."""
        phase = object.__new__(cls)
        phase._value_ = value
        phase.joined = joined
        return phase


class Event(Enum):
    """The events of a channel's life."""

    __hash__ = object.__hash__

    OLD_ENDED = auto()
    """The channel that it replaces has ended."""
    SUBSCRIBED = auto()
    """The subscription to its topic is in force."""
    PLACED = auto()
    """A worker was sent its JOIN."""
    UNAVAILABLE = auto()
    """The bus did not confirm the subscription in time, or no worker was found in time."""
    TOPIC_REFUSED = auto()
    """Joins of its topic have crashed workers, so it is not sent to another one."""
    ACCEPTED = auto()
    """Its worker sends Joined."""
    UNANSWERABLE = auto()
    """Its worker sends Joined with a response that cannot be encoded for this client."""
    REFUSED = auto()
    """Its worker sends Refused."""
    JOINED_AGAIN = auto()
    """The client joins the topic again."""
    STOPPING = auto()
    """Its worker sends Moving: it is stopping, and offers to hand the channel over."""
    HANDED_OVER = auto()
    """Its worker sends Moved, with the channel's state."""
    CLOSED = auto()
    """Its worker sends Closed."""
    CRASHED = auto()
    """Its worker sends Crashed or a malformed command, or the gateway itself fails."""
    WORKER_LOST = auto()
    """Its worker is gone."""
    CLIENT_GONE = auto()
    """The connection has ended."""


class Step(Enum):
    """What the session does after a change of phase, in the order given in the table."""

    __hash__ = object.__hash__

    SUBSCRIBE = auto()
    """Have the hub subscribe to the topic, and then send the JOIN."""
    PLACE = auto()
    """Have the hub find a worker."""
    REFUSE = auto()
    """Answer the join with an error: the one given, or "join crashed"."""
    DELIVER = auto()
    """Deliver the broadcasts held for it, and all later ones."""
    REPLACE = auto()
    """Ask its worker to end it."""
    START_SUCCESSOR = auto()
    """Start the join of the channel that replaces it."""
    HAND_OVER = auto()
    """Ask its worker for its state, and place no more channels there."""
    END_AT_WORKER = auto()
    """Tell its worker, for which it is joined, that it has ended."""
    SAY_CLOSED = auto()
    """Send the client `phx_close`."""
    SAY_ERROR = auto()
    """Send the client `phx_error`."""
    COUNT_NOT_MOVED = auto()
    """Count a channel that was lost while it moved to another worker."""
    DROP = auto()
    """Remove it from its topic and from the client's channels."""
    RELEASE = auto()
    """Handle the messages that the client has sent in the meantime."""


FIRST = (Phase.SUBSCRIBING, Phase.QUEUED)
"""The phases in which a channel begins: the second if it replaces another channel."""

_REFUSE = (Phase.ENDED, (Step.REFUSE, Step.DROP, Step.RELEASE))
_CRASH = (Phase.ENDED, (Step.SAY_ERROR, Step.DROP))
_NOT_MOVED = (Phase.ENDED, (Step.SAY_ERROR, Step.COUNT_NOT_MOVED, Step.DROP, Step.RELEASE))
_GIVEN_BACK = (Phase.ENDED, (Step.END_AT_WORKER, *_NOT_MOVED[1]))
_CLOSED_ON_THE_WAY = (Phase.ENDED, (Step.SAY_CLOSED, Step.DROP, Step.RELEASE))
_MAKE_ROOM = (Phase.ENDED, (Step.DROP, Step.START_SUCCESSOR))

_IGNORED = {
    Phase.JOINING: (Event.STOPPING, Event.HANDED_OVER),
    Phase.JOINED: (Event.ACCEPTED, Event.REFUSED, Event.HANDED_OVER),
    Phase.REPLACED: (Event.ACCEPTED, Event.REFUSED, Event.STOPPING, Event.HANDED_OVER),
    Phase.HANDING_OVER: (Event.STOPPING,),
    Phase.RESUMING: (Event.STOPPING,),
}
"""Commands that a worker may send too early, too late or repeatedly; they change nothing."""

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
    (Phase.RESUMING, Event.HANDED_OVER): _GIVEN_BACK,
    (Phase.RESUMING, Event.CLOSED): _CLOSED_ON_THE_WAY,
    (Phase.RESUMING, Event.CRASHED): _NOT_MOVED,
    (Phase.RESUMING, Event.REFUSED): _NOT_MOVED,
    (Phase.RESUMING, Event.TOPIC_REFUSED): _NOT_MOVED,
    (Phase.RESUMING, Event.WORKER_LOST): (Phase.MOVING, (Step.PLACE,)),
    # The client is gone, so nothing is sent
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
