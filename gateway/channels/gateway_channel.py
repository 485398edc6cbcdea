"""One channel of one client, as its gateway sees it."""

from collections import deque
from typing import Any

from gateway.channels.phases import FIRST, TABLE, Event, Phase, Step
from gateway.flow.token_bucket import TokenBucket
from mesh.channel import Channel
from mesh.link.commands import Moved
from mesh.messages import JOIN, JSON, Message
from mesh.payloads import EMPTY
from mesh.phases import Phases
from mesh.routes import Route


class Pending:
    """What a channel needs only until it is joined, or has moved.

    Attributes:
        join: what the client sent; of a channel that moves, a join that nobody will answer.
        replaces: the channel that ends before this one begins.
        messages: what the client sent on the topic since, the oldest first.
        bytes: what they count together.
        deaths: workers that have died while the join was under way on them.
        refused: whether a worker has refused the join, and so has survived it.
        moved: what the last worker gave for the next one.
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
    """One channel of one client, as the gateway sees it; its phase is in `phase` (channels/phases.py).

    Attributes:
        number: names it on the links and in broadcast headers; unique in this gateway.
        join_ref: as the client sent it.
        push_join_ref: what its pushes carry: join_ref, or the join's ref if that was null.
        worker: id of the worker that runs it or is asked to; None while there is none.
        pending: None as soon as it is joined, unless it moves.
        since: bus number of its worker when it joined.
        intercepts: events that reach it through handle_out.
        client: the hub's, opaque here.
        pushes: what its class's rate limit leaves, once it has pushed.
    """

    __slots__ = (
        "client",
        "intercepts",
        "join_ref",
        "number",
        "pending",
        "push_join_ref",
        "pushes",
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
        self.client = client
        self.pushes: TokenBucket | None = None

    def placed(self, worker: str) -> None:
        """Its JOIN was sent to a worker."""
        self.handle(Event.PLACED)
        self.worker = worker

    def pend_move(self) -> None:
        """From now on what the client sends waits until another worker runs the channel."""
        self.pending = Pending(Message(self.join_ref, None, self.topic, JOIN, JSON, EMPTY))
