"""Checks the payloads that workers send to clients, before they become frames. Pure.

Workers may be written in any language, and an application may pass already encoded bytes to ours, so a
payload may be malformed. JSON is parsed without creating Python objects; msgpack is decoded and discarded.
"""

from mesh.errors import DecodeError, EncodeError, MeshError
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.protocol import payloads
from mesh.telemetry import Complaints, get_logger

UNSENDABLE = (DecodeError, EncodeError)
"""Raised for payloads that are malformed, or that this client's protocol version cannot express."""

_complaints = Complaints(get_logger(__name__), "message from a worker dropped")


def check_payload(codec: int, data: bytes) -> None:
    """Raise DecodeError if the bytes are not a valid payload of that codec."""
    flaw = payloads.flaw(codec, data)
    if flaw is not None:
        raise DecodeError(flaw)


def check_message(event: str, codec: int, data: bytes) -> None:
    """As `check_payload`, for a push; also raise DecodeError for an event of the protocol itself."""
    flaw = payloads.message_flaw(event, codec, data)
    if flaw is not None:
        raise DecodeError(flaw)


def unsendable(error: MeshError, channel: GatewayChannel, counter: str) -> None:
    """Count a payload that cannot be sent, and log it at intervals.

    Args:
        error: DecodeError for a malformed payload, which has a counter of its own, or EncodeError.
        channel: the channel it was sent for.
        counter: the counter for a payload that the client's protocol version cannot express.
    """
    if isinstance(error, DecodeError):
        counter = "worker_payloads_malformed"
    _complaints.about(channel.worker or "", counter, str(error), topic=channel.topic)
