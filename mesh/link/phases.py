"""The phases of a link between one gateway and one worker, as seen from either end.

A link is exactly one ZeroMQ connection: both ends count its commands, and commands refer to channels that
the other end knows. So a link that ended is never resumed. The gateway makes a new one, with a new DEALER,
and its channels start again. Therefore ENDED is final.

    RESOLVING   the worker announced a name, which is being resolved (gateway only)
    GREETING    connected or connecting: Hello must be answered by Welcome before anything else is sent
    UP          commands flow in both directions
    ENDED       nothing is sent or handled any more

- FAILED: the link ended by itself. The connection broke, or the peer was silent, broke the protocol, or
  fell too far behind; its channels crash (REPORT_DOWN).
- REJECTED: there is no common version (REPORT_INCOMPATIBLE), so another attempt would be useless.
- CLOSE: this end stops. Queued commands are sent first (FLUSH), and nothing is reported.

Hello is queued while the name is resolved and the connection is established. A gateway's end begins in
RESOLVING or GREETING. A worker's end begins in GREETING when Hello arrives, and is UP before anything else
is handled. docs/protocol.md §3 specifies the commands; the sockets are DEALER and ROUTER of ZeroMQ RFC 28.

Pure.
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """The phase of a link; see above."""

    RESOLVING = auto()
    GREETING = auto()
    UP = auto()
    ENDED = auto()


class Event(Enum):
    """An event in the life of a link."""

    RESOLVED = auto()
    WELCOMED = auto()
    """Welcome was received."""
    REJECTED = auto()
    """Incompatible was received."""
    FAILED = auto()
    CLOSE = auto()


class Action(Enum):
    """What is done on the way into the next phase, in this order."""

    CONNECT = auto()
    FLUSH = auto()
    """Send queued commands."""
    RELEASE = auto()
    """Release the link's resources, and send nothing more."""
    REPORT_UP = auto()
    REPORT_DOWN = auto()
    REPORT_INCOMPATIBLE = auto()


_FAILED = (Phase.ENDED, (Action.RELEASE, Action.REPORT_DOWN))
_REJECTED = (Phase.ENDED, (Action.FLUSH, Action.RELEASE, Action.REPORT_INCOMPATIBLE))
_CLOSED = (Phase.ENDED, (Action.FLUSH, Action.RELEASE))

TABLE: Table[Phase, Event, Action] = {
    (Phase.RESOLVING, Event.RESOLVED): (Phase.GREETING, (Action.CONNECT,)),
    (Phase.RESOLVING, Event.FAILED): _FAILED,
    (Phase.RESOLVING, Event.CLOSE): _CLOSED,
    (Phase.GREETING, Event.WELCOMED): (Phase.UP, (Action.REPORT_UP,)),
    (Phase.GREETING, Event.REJECTED): _REJECTED,
    (Phase.GREETING, Event.FAILED): _FAILED,
    (Phase.GREETING, Event.CLOSE): _CLOSED,
    (Phase.UP, Event.REJECTED): _REJECTED,
    (Phase.UP, Event.FAILED): _FAILED,
    (Phase.UP, Event.CLOSE): _CLOSED,
}
"""An event that is missing for a phase is an error."""

FIRST = (Phase.RESOLVING, Phase.GREETING)
