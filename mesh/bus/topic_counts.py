"""The question of the call `gateway.topics` and a gateway's answer (docs/protocol.md §2.4)."""

from typing import NamedTuple

import msgspec

from mesh.bus.decoding import decoder

TOPICS = "gateway.topics"
MAX_TOPICS = 1_000
"""The most topics in one answer: if all have the maximum length, a quarter of the largest bus message."""


class Question(msgspec.Struct, array_like=True):
    """Topics that start with `prefix`, or only that one if `exact`; the `limit` with most channels."""

    prefix: str
    exact: bool
    limit: int


class TopicCounts(msgspec.Struct, array_like=True):
    """A gateway's answer.

    Attributes:
        counts: (topic, number of joined channels), in descending order of that number.
        total: the number of topics; greater than the length of `counts` if that was truncated.
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
