"""The messages that wait for one channel: in order, and bounded (docs/protocol.md §3.3).

They come from the link, from the bus (intercepted and subscribed broadcasts) and from the channel itself;
its ChannelServer handles them. Above the pause limits the client is not read from for a while; above the
hard limits the channel ends. While a topic is paused, pushes of its channels are set aside and all other
messages are handled.
"""

from collections import deque
from typing import Any, NamedTuple, Protocol

import msgspec

from mesh.link import commands
from mesh.settings import WorkerSettings


class InterceptedBroadcast(msgspec.Struct, frozen=True):
    """A broadcast on the channel's topic whose event it intercepts, for `handle_out`."""

    event: str
    codec: int
    data: bytes


class SubscribedBroadcast(msgspec.Struct, frozen=True):
    """A broadcast on another topic, to which the channel subscribed, for `handle_info`."""

    topic: str
    event: str
    codec: int
    data: bytes


class InfoMessage(msgspec.Struct, frozen=True):
    """A message that the channel sent to itself, for `handle_info`."""

    message: Any


class ClientGone(msgspec.Struct, frozen=True):
    """The client is gone: its last message."""

    reason: str


class StopRequested(msgspec.Struct, frozen=True):
    """`stop` was called while no callback ran."""

    reason: str


class SetAside:
    """Taken in place of a push that was set aside: there is nothing to handle."""

    __slots__ = ()


SizedMessage = commands.Push | InterceptedBroadcast | SubscribedBroadcast
"""Messages with a payload, whose bytes count while they wait."""

SIZED = frozenset({commands.Push, InterceptedBroadcast, SubscribedBroadcast})
SET_ASIDE = SetAside()


class MailboxLimits(NamedTuple):
    """How much may wait for one channel.

    Attributes:
        max_messages: above this the channel ends.
        max_bytes: above this the channel ends.
        pause_messages: above this the client is not read from until half of it is left.
        pause_bytes: above this the client is not read from until half of it is left.
    """

    max_messages: int
    max_bytes: int
    pause_messages: int
    pause_bytes: int

    @classmethod
    def of(cls, settings: WorkerSettings) -> "MailboxLimits":
        """Return the limits from the settings; pause limits are at most half of the hard limits."""
        return cls(
            settings.max_mailbox_messages,
            settings.max_mailbox_bytes,
            min(settings.pause_mailbox_messages, settings.max_mailbox_messages // 2),
            min(settings.pause_mailbox_bytes, settings.max_mailbox_bytes // 2),
        )


class MailboxOwner(Protocol):
    """Handles the messages."""

    def wake(self) -> None:
        """Take the waiting messages soon."""

    def overflow(self, setting: str, limit: int) -> None:
        """End the channel: more waits than `setting` allows."""

    def pause_reading(self) -> bool:
        """Ask the gateway not to read from the client; return False if it cannot be asked."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""


class _Nobody:
    """The owner of closed mailboxes, so that a closed mailbox keeps no channel alive."""

    __slots__ = ()

    def wake(self) -> None:
        """No effect."""

    def overflow(self, setting: str, limit: int) -> None:
        """No effect."""

    def pause_reading(self) -> bool:
        """No effect."""
        return False

    def resume_reading(self) -> None:
        """No effect."""


_NOBODY = _Nobody()
_CLOSED: deque[Any] = deque(maxlen=0)
"""The queue of every closed mailbox. It drops what is appended, so that `post` need not check."""


class Mailbox:
    """One channel's mailbox.

    Args:
        owner: handles the messages.
        limits: how much may wait.
        first: the first message; the owner takes it without being woken.

    Attributes:
        queue: the waiting messages, oldest first; only the mailbox changes it.
        busy: whether the owner handles messages, or was woken to do so.
        reading_paused: whether the gateway was asked not to read from the client.
    """

    __slots__ = ("_aside", "_bytes", "_limits", "_owner", "busy", "queue", "reading_paused")

    def __init__(self, owner: MailboxOwner, limits: MailboxLimits, first: Any) -> None:
        self._owner: MailboxOwner = owner
        self._limits = limits
        self.queue: deque[Any] = deque((first,))
        self._bytes = 0
        # Pushes that arrived while pushes are paused; None if they are not.
        self._aside: deque[commands.Push] | None = None
        self.busy = True
        self.reading_paused = False

    @property
    def waiting(self) -> int:
        """The number of messages that wait."""
        return len(self.queue) + (len(self._aside) if self._aside else 0)

    @property
    def waiting_bytes(self) -> int:
        """The bytes of the pushes and broadcasts that wait."""
        return self._bytes

    @property
    def closed(self) -> bool:
        """Whether the mailbox was closed."""
        return self.queue is _CLOSED

    def count(self, *kinds: type[Any]) -> int:
        """Return how many messages of these types wait."""
        return sum(type(message) in kinds for message in self.queue)

    def post(self, message: Any) -> None:
        """Queue a message; drop it if the mailbox is closed. Above a hard limit the channel ends."""
        queue = self.queue
        if len(queue) >= self._limits.max_messages:
            self._owner.overflow("worker.max_mailbox_messages", self._limits.max_messages)
            return
        queue.append(message)
        if not self.busy:
            self.busy = True
            self._owner.wake()

    def post_sized(self, message: SizedMessage) -> None:
        """As `post`, for a message with a payload: above a pause limit the client is not read from."""
        self._bytes = size = self._bytes + len(message.data)
        self.post(message)
        limits = self._limits
        if size > limits.pause_bytes or len(self.queue) > limits.pause_messages or self._aside is not None:
            self._check_limits()

    def post_last(self, message: Any) -> None:
        """As `post`, for the client's last message: the pushes that were set aside came before it."""
        if self._aside is not None:
            self.put_back()
        self.post(message)

    def requeue(self, message: Any) -> None:
        """Queue a message again, after all others."""
        self.queue.append(message)

    def take(self) -> Any:
        """Return the next message, of which there must be one; SET_ASIDE for a push that must wait."""
        message = self.queue.popleft()
        if type(message) in SIZED:
            if self._aside is not None and type(message) is commands.Push:
                self._aside.append(message)
                return SET_ASIDE
            self._bytes -= len(message.data)
        return message

    def rest(self) -> bool:
        """The owner has handled some messages; return whether there is more, so that it must continue."""
        self.busy = bool(self.queue)
        return self.busy

    def set_pushes_aside(self) -> None:
        """Hand out no pushes until `put_back` is called; they count as waiting."""
        if self._aside is None and not self.closed:
            self._aside = deque()

    def put_back(self) -> None:
        """Hand out pushes again, beginning with those that were set aside."""
        aside, self._aside = self._aside, None
        if aside:
            self.queue.extendleft(reversed(aside))
            if not self.busy:
                self.busy = True
                self._owner.wake()

    def close(self) -> None:
        """Drop all waiting and all future messages."""
        self.queue = _CLOSED
        self._aside = None
        self._bytes = 0
        self._owner = _NOBODY

    def resume_if_low(self) -> None:
        """Read from the client again if at most half of the pause limits is left."""
        limits = self._limits
        if self.waiting <= limits.pause_messages // 2 and self._bytes <= limits.pause_bytes // 2:
            self.reading_paused = False
            self._owner.resume_reading()

    def _check_limits(self) -> None:
        limits, waiting = self._limits, self.waiting
        if self._bytes > limits.max_bytes:
            self._owner.overflow("worker.max_mailbox_bytes", limits.max_bytes)
        elif waiting > limits.max_messages:
            self._owner.overflow("worker.max_mailbox_messages", limits.max_messages)
        elif not self.reading_paused and (
            waiting > limits.pause_messages or self._bytes > limits.pause_bytes
        ):
            self.reading_paused = self._owner.pause_reading()
