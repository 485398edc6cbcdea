"""One channel of one client, as its gateway sees it."""

from collections import deque
from typing import Any

from gateway.flow.token_bucket import TokenBucket
from mesh.channel import Channel
from mesh.link.commands import Moved
from mesh.messages import JOIN, JSON, Message
from mesh.payloads import EMPTY
from mesh.routes import Route


class Joining:
    """What a channel needs only while its join is pending.

    Attributes:
        deaths: workers that have died while the join was under way on them.
        refused: whether a worker has refused the join, and so has survived it.
    """

    __slots__ = ("deaths", "join", "pending", "pending_bytes", "refused", "replaces")

    def __init__(self, join: Message, replaces: "GatewayChannel | None") -> None:
        self.join = join
        self.replaces = replaces
        self.pending: deque[Message] = deque()
        self.pending_bytes = 0
        self.deaths = 0
        self.refused = False


class Moving(Joining):
    """What a channel needs while it moves from its worker to another: it is joined all the time.

    Attributes:
        moved: what its worker gave for the next one; None until then.
    """

    __slots__ = ("moved",)

    def __init__(self, channel: "GatewayChannel") -> None:
        super().__init__(Message(channel.join_ref, None, channel.topic, JOIN, JSON, EMPTY), None)
        self.moved: Moved | None = None


class GatewayChannel:
    """One channel of one client, as the gateway sees it.

    Attributes:
        number: names it on the links and in broadcast headers; unique in this gateway.
        join_ref: as the client sent it.
        push_join_ref: what its pushes carry: join_ref, or the join's ref if that was null.
        worker: id of the worker that runs it, None until it is placed.
        joining: None once it is joined, unless it moves.
        since: bus number of its worker when it joined.
        intercepts: events that reach it through handle_out.
        client: the hub's, opaque here.
        pushes: what its class's rate limit leaves, once it has pushed.
    """

    __slots__ = (
        "client",
        "intercepts",
        "join_ref",
        "joining",
        "number",
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
        self.number = number
        self.topic: str = join.topic
        self.join_ref = join.join_ref
        self.push_join_ref = join.ref if join.join_ref is None else join.join_ref
        self.route = route
        self.worker: str | None = None
        self.joining: Joining | None = Joining(join, replaces)
        self.since = 0
        self.intercepts: frozenset[str] = frozenset()
        self.client = client
        self.pushes: TokenBucket | None = None

    @property
    def joined(self) -> bool:
        """Whether the client has seen its join answered."""
        return self.joining is None or type(self.joining) is Moving

    @property
    def moved(self) -> Moved | None:
        """What its last worker gave for the next one, while no other runs it."""
        return self.joining.moved if type(self.joining) is Moving else None
