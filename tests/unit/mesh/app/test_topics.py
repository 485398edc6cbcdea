"""mesh/app/topics.py: what may be a topic, and what ZeroMQ subscribes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.app import topics
from mesh.errors import TopicError


@pytest.mark.parametrize("topic", ["$nodes", "a\x00b", 7, None, b"room:1", "room:\ud800"])
def test_a_topic_that_cannot_be_used_is_named_in_the_error(topic):
    with pytest.raises(TopicError, match=r"topic"):
        topics.check(topic)


@given(st.text().filter(lambda text: "\x00" not in text and not text.startswith("$")))
def test_any_other_text_is_a_topic_and_survives_the_bus(topic):
    try:
        encoded = topics.exact(topics.check(topic))
    except TopicError:
        return
    assert topics.of_frame(encoded) == topic


def test_an_exact_subscription_does_not_match_a_longer_topic():
    assert not topics.exact("room:10").startswith(topics.exact("room:1"))
    assert topics.exact("room:10").startswith(topics.prefix("room:*"))
    assert topics.prefix("lobby") == b"lobby\x00"
    assert topics.prefix("*") == b""


@pytest.mark.parametrize("frame", [b"", b"room:1", b"\xff\x00"])
def test_a_frame_without_terminator_or_utf8_is_an_error(frame):
    with pytest.raises(TopicError):
        topics.of_frame(frame)
