"""The message of a failed assertion: what was received instead, and which channels have crashed."""

from collections.abc import Iterable
from typing import Any, NoReturn, Protocol

from mesh.testing.memory_gateway import MemoryGateway, Received

SHOWN = 50
"""The number of received messages that are shown, the last ones."""


class FailedCase(Protocol):
    """What explains a failure: the channels of a case, and whether one of them is still at work."""

    @property
    def gateway(self) -> MemoryGateway:
        """The gateway of all clients."""

    def busy(self) -> bool:
        """Return whether a callback or a message is still under way."""


def fail(
    sentence: str, kind: str, seen: Iterable[Any], case: FailedCase, received: Received | None = None
) -> NoReturn:
    """Raise AssertionError, with the error that crashed the channel as its cause."""
    lines_seen = [f"  {kind} so far: {each!r}" for each in seen]
    lines = [sentence, *(lines_seen[-SHOWN:] or [f"  no {kind} so far"])]
    if len(lines_seen) > SHOWN:
        lines.insert(1, f"  and {len(lines_seen) - SHOWN} earlier {kind}")
    if received is not None:
        lines += [f"  {event!r} was sent, but this client cannot receive it" for event in received.skipped]
        if received.end is not None:
            lines.append(f"  the channel {ended(received)}")
    others = [each for each in case.gateway.received.values() if each is not received]
    lines += [f"  another channel, on {each.topic!r}, {ended(each)}" for each in others if crashed(each)]
    if case.busy() and (received is None or received.end is None):
        lines.append("  a callback is still waiting; pass timeout_seconds= to wait longer")
    raise AssertionError("\n".join(lines)) from cause(received, *others)


def ended(received: Received) -> str:
    """Return how the channel ended."""
    if received.end == "killed":
        return "was killed: `terminate` did not end in time"
    how = "is closed" if received.end == "closed" else "has crashed"
    return f"{how}: {received.reason!r}" if received.reason is not None else how


def crashed(received: Received) -> bool:
    """Return whether the client was informed of a crash."""
    return received.end == "crashed"


def cause(*channels: Received | None) -> BaseException | None:
    """Return the error of the first channel that crashed."""
    for each in channels:
        if each is not None and isinstance(each.reason, BaseException):
            return each.reason
    return None
