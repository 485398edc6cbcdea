"""What the call `gateway.topics` asks and how a gateway answers (docs/protocol.md §2.4)."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder

TOPICS = "gateway.topics"
MAX_TOPICS = 1_000
"""In one answer: with topics of the greatest length a quarter of what a bus message may be."""


class Question(msgspec.Struct, array_like=True):
    """Topics that start with `prefix`, or only the topic of that name; those `limit` with most channels."""

    prefix: str
    exact: bool
    limit: int


class TopicCounts(msgspec.Struct, array_like=True):
    """A gateway's answer.

    Attributes:
        counts: (topic, number of channels joined to it), most first.
        total: how many topics there are; more than `counts` has if it was cut.
    """

    counts: list[tuple[str, int]]
    total: int


class GatewayTopics(NamedTuple):
    """One gateway's live topics; `answer` is None if it did not answer in time."""

    gateway: str
    answer: TopicCounts | None


encode = msgspec.msgpack.Encoder().encode
decode_question = decoder(Question, "a question for topics")
decode_answer = decoder(TopicCounts, "an answer with topics")
