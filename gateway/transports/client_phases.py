"""The phases of one client's connection, on every transport. Pure.

    OPENING   the application decides whether the client may connect; the hub does not know it yet.
    OPEN      the hub has the client, and its messages are read.
    PAUSED    the hub has the client and wants no messages: a join is pending, a mailbox is full, or a
              worker is behind. The hub decides how long. A transport that no longer reads its socket
              suspends the idle time-out.
    CLOSING   the close has been sent, or waits behind what was sent before it. Messages from the client
              are ignored. The hub no longer has the client.
    CLOSED    all resources are released. Nothing is sent, and the hub is not called.

A connection ends in one of two ways. CLOSE and END are orderly: what was queued is still delivered, then
the client receives the code (the hub causes CLOSE, the transport END). LOST and OVERFLOW are abrupt: the
client is gone, or the close would wait behind everything that the client does not read, so what is queued
is dropped and counted.

The hub must learn of every end that it did not cause: END, LOST and OVERFLOW (`TELL_HUB`). CLOSING and
CLOSED never tell it, so `hub.disconnected` runs at most once for each client, and never after CLOSE.

Events may arrive after the end of a connection: a fan-out in progress still sends, a time-out still fires.
So CLOSING and CLOSED accept every event except ADMITTED, and ignore those that are too late. In the other
phases, an event that is missing here is a defect: a second PAUSE would need a second RESUME, and RESUME
without PAUSE would read from a client whose join is pending.
"""

from enum import Enum

from mesh.phases import Table


class Phase(Enum):
    """The phases of a connection."""

    OPENING = "opening"
    OPEN = "open"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"


class Event(Enum):
    """What happens to a connection."""

    ADMITTED = "admitted"
    """The application accepts the client; the hub has it."""
    PAUSE = "pause"
    """The hub wants no more messages."""
    RESUME = "resume"
    """The hub wants messages again."""
    CLOSE = "close"
    """The hub ends the connection."""
    END = "end"
    """The transport ends it: the client closed it, was silent for too long, or broke the protocol."""
    OVERFLOW = "overflow"
    """More bytes wait for the client than the limit allows."""
    LOST = "lost"
    """The client is gone."""
    FINISHED = "finished"
    """After CLOSE or END: the client has what was sent, or its time for that has run out."""


class Action(Enum):
    """What the connection does in response."""

    START_READING = "start reading"
    STOP_READING = "stop reading"
    SEND_CLOSE = "send close"
    """Send the client the close code, after what is queued."""
    DROP_UNSENT = "drop unsent"
    """Drop what waits, counted as lost because the client is slow."""
    RELEASE = "release"
    """Release the socket, timers and memory."""
    TELL_HUB = "tell hub"
    """Call `hub.disconnected`, if the hub has the client."""


_NOTHING: tuple[Action, ...] = ()

TABLE: Table[Phase, Event, Action] = {
    (Phase.OPENING, Event.ADMITTED): (Phase.OPEN, (Action.START_READING,)),
    (Phase.OPENING, Event.END): (Phase.CLOSING, (Action.SEND_CLOSE,)),
    (Phase.OPENING, Event.LOST): (Phase.CLOSED, (Action.RELEASE,)),
    #
    (Phase.OPEN, Event.PAUSE): (Phase.PAUSED, (Action.STOP_READING,)),
    (Phase.OPEN, Event.CLOSE): (Phase.CLOSING, (Action.SEND_CLOSE,)),
    (Phase.OPEN, Event.END): (Phase.CLOSING, (Action.SEND_CLOSE, Action.TELL_HUB)),
    (Phase.OPEN, Event.OVERFLOW): (Phase.CLOSED, (Action.DROP_UNSENT, Action.RELEASE, Action.TELL_HUB)),
    (Phase.OPEN, Event.LOST): (Phase.CLOSED, (Action.RELEASE, Action.TELL_HUB)),
    #
    (Phase.PAUSED, Event.RESUME): (Phase.OPEN, (Action.START_READING,)),
    # Reading resumes so that the client's own close is noticed, and a waiting request is answered.
    (Phase.PAUSED, Event.CLOSE): (Phase.CLOSING, (Action.SEND_CLOSE, Action.START_READING)),
    (Phase.PAUSED, Event.END): (Phase.CLOSING, (Action.SEND_CLOSE, Action.START_READING, Action.TELL_HUB)),
    (Phase.PAUSED, Event.OVERFLOW): (Phase.CLOSED, (Action.DROP_UNSENT, Action.RELEASE, Action.TELL_HUB)),
    (Phase.PAUSED, Event.LOST): (Phase.CLOSED, (Action.RELEASE, Action.TELL_HUB)),
    #
    (Phase.CLOSING, Event.FINISHED): (Phase.CLOSED, (Action.RELEASE,)),
    (Phase.CLOSING, Event.LOST): (Phase.CLOSED, (Action.RELEASE,)),
    (Phase.CLOSING, Event.OVERFLOW): (Phase.CLOSED, (Action.DROP_UNSENT, Action.RELEASE)),
    **{
        (Phase.CLOSING, event): (Phase.CLOSING, _NOTHING)
        for event in (Event.PAUSE, Event.RESUME, Event.CLOSE, Event.END)
    },
    #
    **{(Phase.CLOSED, event): (Phase.CLOSED, _NOTHING) for event in Event if event is not Event.ADMITTED},
}
