"""The life of one client's connection, whichever transport it came by. Pure.

    OPENING   the application decides whether the client may connect; the hub does not know it yet.
    OPEN      the hub has the client, and its messages are read.
    PAUSED    the hub has the client and wants no messages: a join is pending, a mailbox is full, or a
              worker is behind. How long is the hub's decision; the idle rule does not apply.
    CLOSING   the close has been sent, or waits behind what was sent before it. Nothing that the client
              says counts any more. The hub has given the client up.
    CLOSED    everything is released. Nothing is sent, and nobody is called.

There are two ways out. CLOSE and END are orderly: what was queued is still delivered, then the client
learns the code (the hub asks for CLOSE, the transport itself for END). LOST and OVERFLOW are abrupt: the
client is gone, or would read the close only behind everything it does not read, so what is queued is
dropped and counted.

Whoever did not ask for the end has to learn of it. That is the hub for END, LOST and OVERFLOW (`TELL_HUB`);
for CLOSE it is the caller. Exactly one of the two holds for each connection, because CLOSING and CLOSED
never tell anybody: `hub.disconnected` runs once for each client that the hub has.

The end of a connection and what the hub asks of it may cross: a fan-out that is under way still sends, a
time-out still fires. So CLOSING and CLOSED take every event but ADMITTED, and do nothing for those that
come too late. In the other phases, an event that is missing here is a defect: PAUSE twice would make one
RESUME too few, RESUME without PAUSE would read from a client whose join is pending.
"""

from enum import Enum

from mesh.phases import Table


class Phase(Enum):
    """Where a connection is in its life."""

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
    """More waits for the client than may wait."""
    LOST = "lost"
    """The client is gone."""
    FINISHED = "finished"
    """After CLOSE or END: the client has what was sent, or its time for that is over."""


class Action(Enum):
    """What the connection does then."""

    START_READING = "start reading"
    STOP_READING = "stop reading"
    SEND_CLOSE = "send close"
    """Behind what is queued, tell the client the code."""
    DROP_UNSENT = "drop unsent"
    """Count the client as slow, and what waits for it as lost."""
    RELEASE = "release"
    """Give back socket, timers and memory."""
    TELL_HUB = "tell hub"
    """`hub.disconnected`, if the hub has the client."""


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
    # Reading goes on so that the client's own close is noticed, and a request that waits is answered.
    (Phase.PAUSED, Event.CLOSE): (Phase.CLOSING, (Action.SEND_CLOSE, Action.START_READING)),
    (Phase.PAUSED, Event.END): (Phase.CLOSING, (Action.SEND_CLOSE, Action.START_READING, Action.TELL_HUB)),
    (Phase.PAUSED, Event.OVERFLOW): (Phase.CLOSED, (Action.DROP_UNSENT, Action.RELEASE, Action.TELL_HUB)),
    (Phase.PAUSED, Event.LOST): (Phase.CLOSED, (Action.RELEASE, Action.TELL_HUB)),
    #
    (Phase.CLOSING, Event.FINISHED): (Phase.CLOSED, (Action.RELEASE,)),
    (Phase.CLOSING, Event.LOST): (Phase.CLOSED, (Action.RELEASE,)),
    (Phase.CLOSING, Event.OVERFLOW): (Phase.CLOSED, (Action.DROP_UNSENT, Action.RELEASE)),
    (Phase.CLOSING, Event.PAUSE): (Phase.CLOSING, _NOTHING),
    (Phase.CLOSING, Event.RESUME): (Phase.CLOSING, _NOTHING),
    (Phase.CLOSING, Event.CLOSE): (Phase.CLOSING, _NOTHING),
    (Phase.CLOSING, Event.END): (Phase.CLOSING, _NOTHING),
    #
    (Phase.CLOSED, Event.PAUSE): (Phase.CLOSED, _NOTHING),
    (Phase.CLOSED, Event.RESUME): (Phase.CLOSED, _NOTHING),
    (Phase.CLOSED, Event.CLOSE): (Phase.CLOSED, _NOTHING),
    (Phase.CLOSED, Event.END): (Phase.CLOSED, _NOTHING),
    (Phase.CLOSED, Event.OVERFLOW): (Phase.CLOSED, _NOTHING),
    (Phase.CLOSED, Event.LOST): (Phase.CLOSED, _NOTHING),
    (Phase.CLOSED, Event.FINISHED): (Phase.CLOSED, _NOTHING),
}
