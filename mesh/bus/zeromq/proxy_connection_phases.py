"""The phases of a connection to one proxy: whether the node publishes through it, and whether joins wait
for it.

A connection has two halves: an XPUB of its own (ZeroMQ RFC 29), through which this node publishes, and the
node's single SUB, which is connected to all proxies. Each half can fail without the other. So three
questions are answered one after the other:

1. *Is the proxy connected?* A proxy subscribes to everything. When our XPUB receives its subscription, the
   first half is connected (PEER_ARRIVED). The socket's monitor reports when that connection ends (ENDED).
2. *Do messages make the round trip?* A probe is published through the connection. It comes back through the
   SUB only if both halves work (ECHOED). Only then may topics be published here. When the SUB's connection
   to the proxy ends, the question is open again (INTERRUPTED), although the first half still works.
3. *Does the proxy answer now?* A frozen proxy keeps its connections. If it leaves a probe unanswered that
   others have answered, it is SUSPECTED and not used until a probe comes back.

Joins wait for probes through every proxy that may answer (barrier.py). They must not wait for one that will
not: after a second without an answer (OVERDUE) the proxy counts as unavailable. This affects only what is
waited for: attempts to reach the proxy continue, and any echo confirms it.

    phase          socket  published to  waited for
    CLOSED         no      no            yes, before the first `open`
    CONNECTING     yes     no            yes
    UNREACHABLE    yes     no            no          not connected in time; the socket keeps trying
    UNCONFIRMED    yes     no            yes         connected; nothing has come back yet
    INTERRUPTED    yes     no            yes         nothing comes back any more, but may again
    UNRESPONSIVE   yes     no            no          connected, but nothing has come back in time
    CONFIRMED      yes     yes           yes
    SUSPECTED      yes     no            yes
    BACKING_OFF    no      no            no          the socket was closed; the next is opened after a pause

A connection that ended is never resumed: libzmq would deliver its queue to the next proxy, after messages
that were sent again in the meantime. So the socket is closed (DISCARD_SOCKET) and replaced.

Pure.
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """The phase of a connection; see above."""

    CLOSED = auto()
    CONNECTING = auto()
    UNREACHABLE = auto()
    UNCONFIRMED = auto()
    INTERRUPTED = auto()
    UNRESPONSIVE = auto()
    CONFIRMED = auto()
    SUSPECTED = auto()
    BACKING_OFF = auto()


class Event(Enum):
    """An event in the life of a connection."""

    OPENED = auto()
    """A socket was opened and connects."""
    PEER_ARRIVED = auto()
    """The proxy's subscription was received."""
    ECHOED = auto()
    """A probe has come back."""
    OVERDUE = auto()
    """No probe has come back for as long as joins may wait."""
    SUSPECT = auto()
    """Other proxies have answered in the meantime."""
    INTERRUPTED = auto()
    """The SUB's connection to the proxy has ended."""
    ENDED = auto()
    """The XPUB's connection has ended, or is given up."""
    CLOSE = auto()
    """This node stops, or the proxy's name no longer has the address."""


class Action(Enum):
    """What is done on the way into the next phase, in this order."""

    START_TIMEOUT = auto()
    """Start the timer after which the connection is OVERDUE."""
    STOP_TIMEOUT = auto()
    FORGET_PROBES = auto()
    """Ignore echoes of earlier probes: they prove nothing now."""
    COUNT_INTERRUPTION = auto()
    """Count and log that a connected proxy is gone."""
    DISCARD_SOCKET = auto()
    """Close the socket together with its queue, whose messages are sent by another path."""
    FLUSH_SOCKET = auto()
    """Close the socket, after a moment to send its queue."""
    RETRY_LATER = auto()
    REPORT_CONNECTED = auto()
    REPORT_LOST = auto()


CONNECTED = frozenset(
    {Phase.UNCONFIRMED, Phase.INTERRUPTED, Phase.UNRESPONSIVE, Phase.CONFIRMED, Phase.SUSPECTED}
)
"""The proxy is connected: it accepts messages."""
ANSWERING = frozenset({Phase.CONFIRMED, Phase.SUSPECTED})
"""A probe has come back since the proxy was connected."""
UNAVAILABLE = frozenset({Phase.UNREACHABLE, Phase.UNRESPONSIVE, Phase.BACKING_OFF})
"""Joins do not wait for the proxy."""

_CONNECT_FAILED = (Action.DISCARD_SOCKET, Action.RETRY_LATER, Action.REPORT_LOST)
_CONNECTION_LOST = (
    Action.COUNT_INTERRUPTION,
    Action.DISCARD_SOCKET,
    Action.RETRY_LATER,
    Action.REPORT_LOST,
)
_PEER_ARRIVED = (Action.START_TIMEOUT, Action.REPORT_CONNECTED)
_INTERRUPTED = (Action.FORGET_PROBES, Action.START_TIMEOUT)

TABLE: Table[Phase, Event, Action] = {
    (Phase.CLOSED, Event.OPENED): (Phase.CONNECTING, (Action.START_TIMEOUT,)),
    (Phase.CLOSED, Event.CLOSE): (Phase.CLOSED, ()),
    (Phase.CONNECTING, Event.PEER_ARRIVED): (Phase.UNCONFIRMED, _PEER_ARRIVED),
    (Phase.CONNECTING, Event.OVERDUE): (Phase.UNREACHABLE, (Action.REPORT_LOST,)),
    (Phase.CONNECTING, Event.ENDED): (Phase.BACKING_OFF, _CONNECT_FAILED),
    (Phase.CONNECTING, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.UNREACHABLE, Event.PEER_ARRIVED): (Phase.UNCONFIRMED, _PEER_ARRIVED),
    (Phase.UNREACHABLE, Event.ENDED): (Phase.BACKING_OFF, _CONNECT_FAILED),
    (Phase.UNREACHABLE, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.BACKING_OFF, Event.OPENED): (Phase.UNREACHABLE, ()),
    (Phase.BACKING_OFF, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.UNCONFIRMED, Event.ECHOED): (Phase.CONFIRMED, (Action.STOP_TIMEOUT,)),
    (Phase.UNCONFIRMED, Event.OVERDUE): (Phase.UNRESPONSIVE, (Action.REPORT_LOST,)),
    (Phase.UNCONFIRMED, Event.ENDED): (Phase.BACKING_OFF, _CONNECTION_LOST),
    (Phase.UNCONFIRMED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.INTERRUPTED, Event.ECHOED): (Phase.CONFIRMED, (Action.STOP_TIMEOUT,)),
    (Phase.INTERRUPTED, Event.OVERDUE): (Phase.UNRESPONSIVE, (Action.REPORT_LOST,)),
    (Phase.INTERRUPTED, Event.ENDED): (Phase.BACKING_OFF, _CONNECTION_LOST),
    (Phase.INTERRUPTED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.UNRESPONSIVE, Event.ECHOED): (Phase.CONFIRMED, ()),
    (Phase.UNRESPONSIVE, Event.ENDED): (Phase.BACKING_OFF, _CONNECTION_LOST),
    (Phase.UNRESPONSIVE, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.CONFIRMED, Event.SUSPECT): (Phase.SUSPECTED, ()),
    (Phase.CONFIRMED, Event.INTERRUPTED): (Phase.INTERRUPTED, _INTERRUPTED),
    (Phase.CONFIRMED, Event.ENDED): (Phase.BACKING_OFF, _CONNECTION_LOST),
    (Phase.CONFIRMED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
    (Phase.SUSPECTED, Event.ECHOED): (Phase.CONFIRMED, ()),
    (Phase.SUSPECTED, Event.INTERRUPTED): (Phase.INTERRUPTED, _INTERRUPTED),
    (Phase.SUSPECTED, Event.ENDED): (Phase.BACKING_OFF, _CONNECTION_LOST),
    (Phase.SUSPECTED, Event.CLOSE): (Phase.CLOSED, (Action.FLUSH_SOCKET,)),
}
"""An event that is missing for a phase is an error."""

FIRST = (Phase.CLOSED,)
