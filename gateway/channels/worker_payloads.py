"""What workers send for clients is looked at before it becomes a frame. Pure.

Not every worker is ours, and an application can hand ours bytes that its encoder takes over as they are.
"""

from gateway.channels.gateway_channel import GatewayChannel
from mesh import payloads
from mesh.errors import DecodeError, EncodeError, MeshError
from mesh.telemetry import Complaints, get_logger

UNSENDABLE = (DecodeError, EncodeError)
"""Why a payload is not sent: it is broken, or this client's protocol version cannot express it."""

_complaints = Complaints(get_logger("gateway.session"), "message of a worker skipped")


def check_payload(codec: int, data: bytes) -> None:
    """Raise DecodeError unless the bytes are a payload of that codec."""
    flaw = payloads.flaw(codec, data)
    if flaw is not None:
        raise DecodeError(flaw)


def check_message(event: str, codec: int, data: bytes) -> None:
    """As `check_payload`, for a push: raises DecodeError for an event of the protocol itself, too."""
    flaw = payloads.message_flaw(event, codec, data)
    if flaw is not None:
        raise DecodeError(flaw)


def unsendable(error: MeshError, channel: GatewayChannel, counter: str) -> None:
    """Count what cannot be sent, and log it now and then: as `counter` if it is not broken in itself."""
    if isinstance(error, DecodeError):
        counter = "worker_payloads_malformed"
    _complaints.about(channel.worker or "", counter, str(error), topic=channel.topic)
