"""The phases of a connection to one proxy: from which a node knows whether to use it, and whether to wait.

A connection has two halves: an XPUB of its own (ZeroMQ RFC 29), through which this node publishes, and the
node's one SUB, which is connected to all proxies. Each can fail without the other. So three questions are
answered one after the other:

1. *Is the proxy there?* A proxy subscribes to everything. Its subscription, which our XPUB receives, says
   that the first half is connected (PEER_ARRIVED). The monitor of the socket says when that ends (ENDED).
2. *Do messages go round?* A probe is published through the connection. It comes back through the SUB only
   if both halves work (ECHOED). Only then may topics be published here. When the SUB's connection to the
   proxy ends, the answer is open again (INTERRUPTED), although the first half still works.
3. *Does it answer now?* A proxy that is frozen keeps its connections. If it owes an answer that others have
   given, it is DOUBTED and not used until something comes back.

Joins wait for probes through every proxy that may answer (barrier.py). They must not wait for one that will
not: after a second without an answer (OVERDUE) the proxy counts as unavailable. This decides who waits, not
who tries: the connection is tried all the same, and whatever comes back confirms it.

    phase          socket  published to  waited for
    CLOSED         no      no            yes, before the first `open`
    CONNECTING     yes     no            yes
    UNREACHABLE    yes     no            no          the proxy is not there; the socket keeps trying
    UNCONFIRMED    yes     no            yes         it is there; nothing has come back yet
    INTERRUPTED    yes     no            yes         nothing comes back any more; perhaps it will again
    UNRESPONSIVE   yes     no            no          it is there, but nothing has come back in time
    CONFIRMED      yes     yes           yes
    DOUBTED        yes     no            yes
    BACKING_OFF    no      no            no          the socket was given up; the next comes after a pause

A connection that ended is not taken up again: libzmq would deliver what it had queued to the next proxy,
behind messages that were sent again meanwhile. So the socket is closed (DISCARD_SOCKET) and replaced.

Pure.
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """How far a connection is; see above."""

    CLOSED = auto()
    CONNECTING = auto()
    UNREACHABLE = auto()
    UNCONFIRMED = auto()
    INTERRUPTED = auto()
    UNRESPONSIVE = auto()
    CONFIRMED = auto()
    DOUBTED = auto()
    BACKING_OFF = auto()


class Event(Enum):
    """What happens to a connection."""

    OPENED = auto()
    """There is a socket, and it connects."""
    PEER_ARRIVED = auto()
    """The proxy's subscription has come."""
    ECHOED = auto()
    """A probe has come back."""
    OVERDUE = auto()
    """Nothing has come back for longer than anybody is to wait."""
    DOUBT = auto()
    """Others have answered meanwhile."""
    INTERRUPTED = auto()
    """The SUB's connection to the proxy has ended."""
    ENDED = auto()
    """Our own has, or is given up."""
    CLOSE = auto()
    """This node stops, or the proxy's name no longer has the address."""


class Action(Enum):
    """What is done on the way into the next phase, in this order."""

    START_PATIENCE = auto()
    """From now on, wait for an answer for a limited time."""
    STOP_PATIENCE = auto()
    FORGET_PROBES = auto()
    """What comes back of earlier probes proves nothing now."""
    COUNT_INTERRUPTION = auto()
    """The proxy was there, and is gone."""
    DISCARD_SOCKET = auto()
    """With what it has not sent: that goes another way."""
    FLUSH_SOCKET = auto()
    """Close it, and give what was sent a moment to leave."""
    RETRY_LATER = auto()
    REPORT_CONNECTED = auto()
    REPORT_LOST = auto()


CONNECTED = frozenset(
    {Phase.UNCONFIRMED, Phase.INTERRUPTED, Phase.UNRESPONSIVE, Phase.CONFIRMED, Phase.DOUBTED}
)
"""The proxy is there: it takes what is sent."""
ANSWERING = frozenset({Phase.CONFIRMED, Phase.DOUBTED})
"""Something has come back since it is there."""
UNAVAILABLE = frozenset({Phase.UNREACHABLE, Phase.UNRESPONSIVE, Phase.BACKING_OFF})
"""Nobody waits for it."""

_ABSENT = (Action.DISCARD_SOCKET, Action.RETRY_LATER, Action.REPORT_LOST)
_GONE = (
    Action.COUNT_INTERRUPTION,
    Action.DISCARD_SOCKET,
    Action.RETRY_LATER,
    Action.REPORT_LOST,
)
_ARRIVED = (Action.START_PATIENCE, Action.REPORT_CONNECTED)
_INTERRUPTED = (Action.FORGET_PROBES, Action.START_PATIENCE)

TABLE: Table[Phase, Event, Action] = {
    (Phase.CLOSED, Event.OPENED): (Phase.CONNECTING, (Action.START_PATIENCE,)),
    (Phase.CLOSED, Event.CLOSE): (Phase.CLOSED, ()),
    (Phase.CONNECTING, Event.PEER_ARRIVED): (Phase.UNCONFIRMED, _ARRIVED),
    (Phase.CONNECTING, Event.OVERDUE): (Phase.UNREACHABLE, (Action.REPORT_LOST,)),
    (Phase.CONNECTING, Event.ENDED): (Phase.BACKING_OFF, _ABSENT),
    (Phase.CONNECTING, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.UNREACHABLE, Event.PEER_ARRIVED): (Phase.UNCONFIRMED, _ARRIVED),
    (Phase.UNREACHABLE, Event.ENDED): (Phase.BACKING_OFF, _ABSENT),
    (Phase.UNREACHABLE, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.BACKING_OFF, Event.OPENED): (Phase.UNREACHABLE, ()),
    (Phase.BACKING_OFF, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.UNCONFIRMED, Event.ECHOED): (Phase.CONFIRMED, (Action.STOP_PATIENCE,)),
    (Phase.UNCONFIRMED, Event.OVERDUE): (Phase.UNRESPONSIVE, (Action.REPORT_LOST,)),
    (Phase.UNCONFIRMED, Event.ENDED): (Phase.BACKING_OFF, _GONE),
    (Phase.UNCONFIRMED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.INTERRUPTED, Event.ECHOED): (Phase.CONFIRMED, (Action.STOP_PATIENCE,)),
    (Phase.INTERRUPTED, Event.OVERDUE): (Phase.UNRESPONSIVE, (Action.REPORT_LOST,)),
    (Phase.INTERRUPTED, Event.ENDED): (Phase.BACKING_OFF, _GONE),
    (Phase.INTERRUPTED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.UNRESPONSIVE, Event.ECHOED): (Phase.CONFIRMED, ()),
    (Phase.UNRESPONSIVE, Event.ENDED): (Phase.BACKING_OFF, _GONE),
    (Phase.UNRESPONSIVE, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.CONFIRMED, Event.DOUBT): (Phase.DOUBTED, ()),
    (Phase.CONFIRMED, Event.INTERRUPTED): (Phase.INTERRUPTED, _INTERRUPTED),
    (Phase.CONFIRMED, Event.ENDED): (Phase.BACKING_OFF, _GONE),
    (Phase.CONFIRMED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.DOUBTED, Event.ECHOED): (Phase.CONFIRMED, ()),
    (Phase.DOUBTED, Event.INTERRUPTED): (Phase.INTERRUPTED, _INTERRUPTED),
    (Phase.DOUBTED, Event.ENDED): (Phase.BACKING_OFF, _GONE),
    (Phase.DOUBTED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
}
"""What is not here is not possible: an error."""

FIRST = (Phase.CLOSED,)
