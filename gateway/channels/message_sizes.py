"""What a client's message takes beside its payload, and how much of that is accepted. Pure."""

from mesh.messages import MAX_EVENT_BYTES, MAX_REF_BYTES, Message
from mesh.serializers import envelope

SMALL = MAX_REF_BYTES
"""A message with so many bytes beside its payload has nothing that is too long."""


def ref_problem(message: Message) -> str | None:
    """What is wrong with the longer of the two refs; None if nothing is."""
    size = max(envelope.size(message.join_ref), envelope.size(message.ref))
    return f"a ref of {size} bytes; at most {MAX_REF_BYTES}" if size > MAX_REF_BYTES else None


def event_is_too_long(message: Message) -> bool:
    """Whether the event is refused."""
    return envelope.size(message.event) > MAX_EVENT_BYTES


def waiting_size(message: Message) -> int:
    """What a message counts while it waits for a join."""
    event = message.event
    return len(message.data) + len(message.topic) + (len(event) if type(event) is str else 0) + 100
