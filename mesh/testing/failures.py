"""What an assertion says when it has not found what it wanted: what came instead, and who crashed."""

from collections.abc import Iterable
from typing import Any, NoReturn, Protocol

from mesh.testing.memory_gateway import MemoryGateway, Received

SHOWN = 50
"""Messages shown, the last ones."""


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
    """Raise AssertionError; the error that crashed the channel is its cause."""
    came = [f"  {kind} so far: {each!r}" for each in seen]
    lines = [sentence, *(came[-SHOWN:] or [f"  no {kind} so far"])]
    if len(came) > SHOWN:
        lines.insert(1, f"  and {len(came) - SHOWN} {kind} before")
    if received is not None:
        lines += [f"  {event!r} came too, but this client cannot receive it" for event in received.skipped]
        if received.end is not None:
            lines.append(f"  the channel {ended(received)}")
    others = [each for each in case.gateway.received.values() if each is not received]
    lines += [f"  another channel, on {each.topic!r}, {ended(each)}" for each in others if crashed(each)]
    if case.busy() and (received is None or received.end is None):
        lines.append("  something is still waiting; give timeout_seconds=")
    raise AssertionError("\n".join(lines)) from cause(received, *others)


def ended(received: Received) -> str:
    """How the channel ended."""
    if received.end == "killed":
        return "was killed: `terminate` had not run in time"
    how = "is closed" if received.end == "closed" else "has crashed"
    return f"{how}: {received.reason!r}" if received.reason is not None else how


def crashed(received: Received) -> bool:
    """Whether its client was told of a crash."""
    return received.end == "crashed"


def cause(*channels: Received | None) -> BaseException | None:
    """The error that crashed the first of them that did."""
    for each in channels:
        if each is not None and isinstance(each.reason, BaseException):
            return each.reason
    return None
