"""The question of the call `gateway.trace` and a gateway's answer (docs/protocol.md §2.4)."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder

TRACE = "gateway.trace"
MAX_COUNT = 100
"""The most messages that one trace follows until they are delivered."""
MAX_MESSAGES = 2 * MAX_COUNT
"""The most messages that a gateway keeps for one trace; some arrived before other gateways watched."""
MAX_SECONDS = 600.0
"""The longest time for which a gateway watches a topic without being asked again."""


class Question(msgspec.Struct, array_like=True):
    """Start or continue to watch a topic, and answer with what was seen.

    Attributes:
        trace: the id of this trace, because several may run at once.
        topic: the topic to watch.
        origin: the node whose broadcasts are traced; "" for all nodes.
        seconds: how long to watch from now on; 0 to stop watching.
        limit: how many messages are kept; later ones are not.
    """

    trace: str
    topic: str
    origin: str
    seconds: float
    limit: int


class Outcome(msgspec.Struct, array_like=True):
    """What has happened to one broadcast at one gateway so far.

    Attributes:
        origin: the node that published it.
        sequence: its number, counted by its origin.
        event: its event.
        bytes: the size of its payload.
        arrived: when it arrived, in seconds since the epoch, by the gateway's clock.
        members: the number of channels that were joined or joining then.
        delivered: the number of members that it was delivered to.
        filtered: by reason, the number of members that it was not meant for.
        dropped: by reason, the number of members that it was not delivered to.
        held: the number of members for which it waits for a pending join or an earlier message.
        unsent: the number of members to whose clients it has not been sent completely.
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
        """The number of members for which the outcome is still open."""
        return self.held + self.unsent


class TraceAnswer(msgspec.Struct, array_like=True):
    """A gateway's answer.

    Attributes:
        members: the number of channels that are joined or joining now.
        outcomes: what happened to each message, in the order of arrival.
        problem: why the gateway does not watch the topic; empty if it does.
    """

    members: int
    outcomes: list[Outcome]
    problem: str = ""


class GatewayTrace(NamedTuple):
    """One gateway's answer; None if it did not answer in time."""

    gateway: str
    answer: TraceAnswer | None


class Published(NamedTuple):
    """A broadcast that the tracer itself published, when (by its own clock), and through which proxy."""

    origin: str
    sequence: int
    at: float
    proxy: str


class Trace(NamedTuple):
    """What happened to some messages at every gateway.

    Attributes:
        messages: (origin, sequence) of each message, in order.
        published: the messages that the tracer published, by the same key.
        gateways: the answer of each gateway.
    """

    messages: list[tuple[str, int]]
    published: dict[tuple[str, int], Published]
    gateways: list[GatewayTrace]

    @property
    def settled(self) -> bool:
        """Return whether every gateway with members has finished with every message."""
        return bool(self.messages) and all(_settled(each.answer, self.messages) for each in self.gateways)


def traced_messages(gateways: list[GatewayTrace], count: int) -> list[tuple[str, int]]:
    """Return the first messages that reached a gateway after all gateways had begun to watch.

    Gateways do not begin to watch at the same time. Of each origin, messages older than the first one that
    some gateway saw are left out, because that gateway may have missed them.
    """
    complete_from: dict[str, int] = {}
    arrived: dict[tuple[str, int], float] = {}
    for _, answer in gateways:
        firsts: dict[str, int] = {}
        for outcome in answer.outcomes if answer is not None else ():
            key = (outcome.origin, outcome.sequence)
            arrived[key] = min(outcome.arrived, arrived.get(key, outcome.arrived))
            firsts.setdefault(outcome.origin, outcome.sequence)
        for origin, sequence in firsts.items():
            complete_from[origin] = max(sequence, complete_from.get(origin, 0))
    keys = [key for key in arrived if key[1] >= complete_from[key[0]]]
    return sorted(keys, key=lambda key: arrived[key])[:count]


def _settled(answer: TraceAnswer | None, messages: list[tuple[str, int]]) -> bool:
    if answer is None or (not answer.members and not answer.outcomes):
        return True
    outcomes = {(outcome.origin, outcome.sequence): outcome for outcome in answer.outcomes}
    return all(key in outcomes and not outcomes[key].waiting for key in messages)


encode = msgspec.msgpack.Encoder().encode
decode_question = decoder(Question, "a question for a trace")
decode_answer = decoder(TraceAnswer, "an answer to a trace")
