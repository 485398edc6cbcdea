"""Limits the size of a message's envelope: its refs, topic and event. Pure."""

from mesh.protocol.messages import MAX_EVENT_BYTES, MAX_REF_BYTES, Message
from mesh.protocol.serializers import envelope

SMALL = MAX_REF_BYTES
"""If the envelope has at most this many bytes, none of its parts can exceed its limit."""


def ref_problem(message: Message) -> str | None:
    """Return why the longer of the two refs is refused; None if it is not."""
    size = max(envelope.size(message.join_ref), envelope.size(message.ref))
    return f"a ref of {size} bytes; at most {MAX_REF_BYTES}" if size > MAX_REF_BYTES else None


def event_is_too_long(message: Message) -> bool:
    """Return whether the event's name is too long."""
    return envelope.size(message.event) > MAX_EVENT_BYTES


def waiting_size(message: Message) -> int:
    """Return the bytes that a message counts against `gateway.max_pending_bytes` while it is held."""
    event = message.event
    return len(message.data) + len(message.topic) + (len(event) if type(event) is str else 0) + 100
