"""What the call `gateway.trace` asks and how a gateway answers (docs/protocol.md §2.4)."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder

TRACE = "gateway.trace"
MAX_COUNT = 100
"""Messages that one trace follows to their ends."""
MAX_MESSAGES = 2 * MAX_COUNT
"""Of one trace: a gateway keeps no more. Some came while other gateways did not watch yet."""
MAX_SECONDS = 600.0
"""The longest time for which a gateway watches without being asked again."""


class Question(msgspec.Struct, array_like=True):
    """Watch a topic from now on, or go on to; answer with what was seen.

    Attributes:
        trace: names this trace, so that several can go on at once.
        topic: what to watch.
        origin: the node whose broadcasts are meant; "" for anybody's.
        seconds: from now; 0: watch no longer.
        limit: the first messages that are kept.
    """

    trace: str
    topic: str
    origin: str
    seconds: float
    limit: int


class Fate(msgspec.Struct, array_like=True):
    """What became of one broadcast at one gateway, until now.

    Attributes:
        origin: the node that published it.
        sequence: the origin's number of it.
        event: of the broadcast.
        bytes: of its payload.
        arrived: seconds since the epoch, by the gateway's clock.
        members: channels joined to the topic then, or joining.
        delivered: number of members it was delivered to.
        filtered: number of members it was not for, by reason.
        dropped: number of members that did not get it, by reason.
        held: number of members for whom it waits behind a join, or for what must come first.
        unsent: number of members whose clients have not taken it yet.
    """

    origin: str
    sequence: int
    event: str
    bytes: int
    arrived: float
    members: int
    delivered: int
    filtered: dict[str, int]
    dropped: dict[str, int]
    held: int
    unsent: int

    @property
    def waiting(self) -> int:
        """Number of members for whom the outcome is open."""
        return self.held + self.unsent


class Seen(msgspec.Struct, array_like=True):
    """A gateway's answer.

    Attributes:
        members: channels joined to the topic now, or joining.
        fates: of the messages that came, in their order.
        problem: why it does not watch, or empty.
    """

    members: int
    fates: list[Fate]
    problem: str = ""


class GatewaySeen(NamedTuple):
    """One gateway's answer, None if it did not answer in time."""

    gateway: str
    seen: Seen | None


class Published(NamedTuple):
    """A broadcast that the tracer published itself, at a time by its own clock, through a proxy."""

    origin: str
    sequence: int
    at: float
    proxy: str


class Trace(NamedTuple):
    """What became of some messages at every gateway.

    Attributes:
        messages: (origin, sequence) of each, in their order.
        published: those that the tracer published, by the same key.
        gateways: what each gateway has seen.
    """

    messages: list[tuple[str, int]]
    published: dict[tuple[str, int], Published]
    gateways: list[GatewaySeen]

    @property
    def settled(self) -> bool:
        """Whether every gateway with members has had every message and has nothing more to do with it."""
        return bool(self.messages) and all(_settled(each.seen, self.messages) for each in self.gateways)


def followed(gateways: list[GatewaySeen], count: int) -> list[tuple[str, int]]:
    """The first messages that came to any gateway when all of them watched already.

    Gateways begin to watch one after another: of each origin, what is older than the first of some gateway
    may have passed that one unseen.
    """
    began: dict[str, int] = {}
    arrived: dict[tuple[str, int], float] = {}
    for _, seen in gateways:
        firsts: dict[str, int] = {}
        for fate in seen.fates if seen is not None else ():
            key = (fate.origin, fate.sequence)
            arrived[key] = min(fate.arrived, arrived.get(key, fate.arrived))
            firsts.setdefault(fate.origin, fate.sequence)
        for origin, sequence in firsts.items():
            began[origin] = max(sequence, began.get(origin, 0))
    keys = [key for key in arrived if key[1] >= began[key[0]]]
    return sorted(keys, key=lambda key: arrived[key])[:count]


def _settled(seen: Seen | None, messages: list[tuple[str, int]]) -> bool:
    if seen is None or (not seen.members and not seen.fates):
        return True
    had = {(fate.origin, fate.sequence): fate for fate in seen.fates}
    return all(key in had and not had[key].waiting for key in messages)


encode = msgspec.msgpack.Encoder().encode
decode_question = decoder(Question, "a question for a trace")
decode_seen = decoder(Seen, "an answer to a trace")
