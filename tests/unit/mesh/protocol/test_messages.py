"""mesh/protocol/messages.py: numbers and names that stand on the wire."""

import pytest

from mesh.protocol import messages
from mesh.protocol.messages import Broadcast, Codec, Message, Sender


def test_the_codecs_have_the_numbers_of_the_wire_formats():
    assert [(each.name, int(each)) for each in Codec] == [("JSON", 0), ("BINARY", 1), ("MSGPACK", 2)]
    for plain, member in zip((messages.JSON, messages.BINARY, messages.MSGPACK), Codec, strict=True):
        assert type(plain) is int
        assert plain == member


def test_the_control_events_are_named_as_in_phoenix():
    assert (messages.JOIN, messages.LEAVE, messages.REPLY) == ("phx_join", "phx_leave", "phx_reply")
    assert (messages.CLOSE, messages.ERROR) == ("phx_close", "phx_error")
    assert (messages.HEARTBEAT_TOPIC, messages.HEARTBEAT) == ("phoenix", "heartbeat")
    assert messages.DISCONNECT == "disconnect"


@pytest.mark.parametrize("message", [Message("1", "2", "t", "e", 0, b"{}"), Broadcast("t", "e", {})])
def test_a_message_is_a_value_that_nobody_changes(message):
    with pytest.raises(AttributeError):
        message.topic = "other"


def test_a_sender_is_neither_skipped_nor_ahead_unless_it_says_so():
    assert Sender("gateway-1", 7) == Sender("gateway-1", 7, skip=False, behind=0)
