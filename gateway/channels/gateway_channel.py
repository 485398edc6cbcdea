"""The state that a gateway keeps for one channel of one client."""

from collections import deque
from typing import Any

from mesh.app.channel import Channel
from mesh.app.routes import Route
from mesh.gateway.channels.phases import FIRST, TABLE, Event, Phase, Step
from mesh.gateway.channels.recovery import Recovery
from mesh.gateway.flow.token_bucket import TokenBucket
from mesh.link.commands import Moved
from mesh.phases import Phases
from mesh.protocol.messages import JOIN, JSON, Message
from mesh.protocol.payloads import EMPTY


class Pending:
    """The state that a channel needs only while it is being joined or moved.

    Attributes:
        join: the client's join; for a channel that moves, a substitute that is never answered.
        replaces: the channel that must end before this one begins.
        messages: the messages of the client on the topic since then, the oldest first.
        bytes: the bytes that these messages count against `gateway.max_pending_bytes`.
        deaths: the number of workers that died while they had the join.
        refused: whether a worker has refused the join, which shows that it survived it.
        moved: the state that the last worker gave for the next one.
    """

    __slots__ = ("bytes", "deaths", "join", "messages", "moved", "refused", "replaces")

    def __init__(self, join: Message, replaces: "GatewayChannel | None" = None) -> None:
        self.join = join
        self.replaces = replaces
        self.messages: deque[Message] = deque()
        self.bytes = 0
        self.deaths = 0
        self.refused = False
        self.moved: Moved | None = None


class GatewayChannel(Phases[Phase, Event, Step]):
    """One channel of one client in its gateway; `phase` is its phase (gateway/channels/phases.py).

    Attributes:
        number: identifies it on the links and in broadcast headers; unique in this gateway.
        topic: its topic.
        join_ref: the join_ref of its join, as the client sent it.
        push_join_ref: the join_ref of its pushes: that of its join, or the join's ref if that was null.
        route: the route that it was joined by.
        worker: the id of the worker that runs it or has its JOIN; None if there is none.
        pending: the state of its join or move; None while it is joined and does not move.
        since: the sequence of its worker's last broadcast before `join` returned.
        intercepts: the events that reach its client through handle_out only.
        recovery: its position in the topic's history; None if its client has not asked for positions.
        client: its client, which only the hub uses.
        pushes: the tokens left by its class's rate limit; None before its first push.
    """

    __slots__ = (
        "client",
        "intercepts",
        "join_ref",
        "number",
        "pending",
        "push_join_ref",
        "pushes",
        "recovery",
        "route",
        "since",
        "topic",
        "worker",
    )  # fmt: skip

    def __init__(
        self,
        number: int,
        route: Route[type[Channel]],
        join: Message,
        client: Any,
        replaces: "GatewayChannel | None" = None,
    ) -> None:
        super().__init__(TABLE, FIRST[replaces is not None])
        self.number = number
        self.topic: str = join.topic
        self.join_ref = join.join_ref
        self.push_join_ref = join.ref if join.join_ref is None else join.join_ref
        self.route = route
        self.worker: str | None = None
        self.pending: Pending | None = Pending(join, replaces)
        self.since = 0
        self.intercepts: frozenset[str] = frozenset()
        self.recovery: Recovery | None = None
        self.client = client
        self.pushes: TokenBucket | None = None

    def placed(self, worker: str) -> None:
        """Note that its JOIN was sent to a worker."""
        self.handle(Event.PLACED)
        self.worker = worker

    def pend_move(self) -> None:
        """Hold the client's messages on the topic until another worker runs the channel."""
        self.pending = Pending(Message(self.join_ref, None, self.topic, JOIN, JSON, EMPTY))
