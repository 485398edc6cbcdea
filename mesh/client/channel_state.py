"""The state of a client's channels and pushes; `mesh.client.session` decides how it changes."""

from typing import Any, Literal

State = Literal["closed", "joining", "joined", "errored", "leaving"]


class ChannelState:
    """The state of one channel.

    Attributes:
        topic: the channel's topic.
        state: as in phoenix.js: closed, joining, joined, errored (it will rejoin), leaving.
        join_ref: the ref of the last join that was sent.
        timeout: the time-out of joins and leaves, in seconds.
    """

    __slots__ = (
        "attempts",
        "buffer",
        "first_join_deadline",
        "join_deadline",
        "join_ref",
        "leave_deadline",
        "leave_ref",
        "rejoin_at",
        "sent",
        "state",
        "timeout",
        "topic",
    )  # fmt: skip

    def __init__(self, topic: str, timeout: float) -> None:
        self.topic = topic
        self.state: State = "closed"
        self.join_ref: str | None = None
        self.timeout = timeout
        self.attempts = 0
        self.leave_ref: str | None = None
        self.buffer: dict[PushState, None] = {}
        self.sent: dict[str, PushState] = {}
        self.first_join_deadline: float | None = None
        self.join_deadline: float | None = None
        self.rejoin_at: float | None = None
        self.leave_deadline: float | None = None

    def clear_deadlines(self) -> None:
        """Let no time-out of the channel pass any more."""
        self.first_join_deadline = self.join_deadline = self.leave_deadline = self.rejoin_at = None

    def reset_rejoin(self) -> None:
        """Cancel the rejoin that is due, and begin with the first delay again."""
        self.attempts = 0
        self.rejoin_at = None

    def forget(self, push: "PushState") -> None:
        """Remove a push that no caller waits for any longer."""
        push.deadline = None
        self.buffer.pop(push, None)
        if push.ref is not None:
            self.sent.pop(push.ref, None)

    def take_sent(self) -> list["PushState"]:
        """Remove and return the pushes that wait for replies, because none will come."""
        lost, self.sent = list(self.sent.values()), {}
        for push in lost:
            push.deadline = None
        return lost

    def take_all(self) -> list["PushState"]:
        """As `take_sent`, and also the pushes that were not sent yet."""
        waiting, self.buffer = list(self.buffer), {}
        for push in waiting:
            push.deadline = None
        return [*self.take_sent(), *waiting]


class PushState:
    """The state of one push; if `wants_reply` is False, no caller waits for the reply."""

    __slots__ = ("channel", "deadline", "event", "payload", "ref", "timeout", "wants_reply")

    def __init__(
        self, channel: ChannelState, event: str, payload: Any, timeout: float, wants_reply: bool = True
    ) -> None:
        self.channel = channel
        self.event = event
        self.payload = payload
        self.timeout = timeout
        self.wants_reply = wants_reply
        self.ref: str | None = None
        self.deadline: float | None = None
