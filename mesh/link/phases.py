"""The phases of a link between one gateway and one worker, as either end sees it.

A link is one ZeroMQ connection and no more: its commands are counted and refer to channels that the other
end knows, so a link that ended is never taken up again. The gateway makes another one, with a new DEALER,
and its channels start over. Therefore ENDED is final.

    RESOLVING   the worker announced a name, which is looked up (gateway only)
    GREETING    connected, or about to be: Hello has to be answered by Welcome. Nothing else is said.
    UP          commands flow in both directions
    ENDED       nothing is sent or handled any more

- FAILED: it ended by itself. The connection broke, the peer was silent, broke the protocol, or was too far
  behind; its channels crash (REPORT_DOWN).
- REJECTED: the worker speaks no version that we do (REPORT_INCOMPATIBLE). There is no use in trying again.
- CLOSE: this end is done. What it has queued is sent first (FLUSH), and nobody needs to be told.

Hello is queued while the name is looked up and the connection made. A gateway's end begins in RESOLVING or
GREETING, a worker's end in GREETING, when Hello has come, and is UP before anything else is handled. The
commands are those of docs/protocol.md §3; the sockets are DEALER and ROUTER of ZeroMQ RFC 28.

Pure.
"""

from enum import Enum, auto

from mesh.phases import Table


class Phase(Enum):
    """How far a link is; see above."""

    RESOLVING = auto()
    GREETING = auto()
    UP = auto()
    ENDED = auto()


class Event(Enum):
    """What happens to a link."""

    RESOLVED = auto()
    WELCOMED = auto()
    """The worker has said Welcome."""
    REJECTED = auto()
    """It has said Incompatible."""
    FAILED = auto()
    CLOSE = auto()


class Action(Enum):
    """What is done on the way into the next phase, in this order."""

    CONNECT = auto()
    FLUSH = auto()
    """Send what is queued."""
    RELEASE = auto()
    """Close what belongs to the link, and send no more."""
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
"""What is not here is not possible: an error."""

FIRST = (Phase.RESOLVING, Phase.GREETING)
