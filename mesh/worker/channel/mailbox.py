"""What waits for one channel: in order, and within bounds (docs/protocol.md §3.3).

Mail comes from the link, from the bus (intercepted and subscribed broadcasts) and from the channel itself;
its ChannelServer handles it. Over a mark the client is not read from for a while; over a bound the channel
ends. While a topic is paused its channels' pushes are set aside, all other mail is handled.
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
    """What the channel sent itself, for `handle_info`."""

    message: Any


class ClientGone(msgspec.Struct, frozen=True):
    """The client is gone: its last message."""

    reason: str


class StopRequested(msgspec.Struct, frozen=True):
    """`stop` was called while no callback ran."""

    reason: str


class SetAside:
    """What is handed out in place of a push that was set aside: there is nothing to handle."""

    __slots__ = ()


SizedMail = commands.Push | InterceptedBroadcast | SubscribedBroadcast
"""Mail that carries a payload: its bytes count while it waits."""

SIZED = frozenset({commands.Push, InterceptedBroadcast, SubscribedBroadcast})
SET_ASIDE = SetAside()


class MailboxLimits(NamedTuple):
    """How much may wait for one channel.

    Attributes:
        max_messages: over this the channel ends.
        max_bytes: over this the channel ends.
        pause_messages: over this the client is not read from until half of it is left.
        pause_bytes: over this the client is not read from until half of it is left.
    """

    max_messages: int
    max_bytes: int
    pause_messages: int
    pause_bytes: int

    @classmethod
    def of(cls, settings: WorkerSettings) -> "MailboxLimits":
        """As set; the marks at most half of the bounds."""
        return cls(
            settings.max_mailbox_messages,
            settings.max_mailbox_bytes,
            min(settings.pause_mailbox_messages, settings.max_mailbox_messages // 2),
            min(settings.pause_mailbox_bytes, settings.max_mailbox_bytes // 2),
        )


class MailboxOwner(Protocol):
    """Who handles the mail."""

    def wake(self) -> None:
        """Take what waits, soon."""

    def overflow(self, setting: str, limit: int) -> None:
        """More waits than `setting` allows: end."""

    def pause_reading(self) -> bool:
        """Ask the gateway not to read from the client; False if it cannot be asked."""

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""


class _Nobody:
    """Owns closed mailboxes, so that a closed mailbox keeps no channel alive."""

    __slots__ = ()

    def wake(self) -> None:
        """There is nothing to handle."""

    def overflow(self, setting: str, limit: int) -> None:
        """There is nothing to end."""

    def pause_reading(self) -> bool:
        """There is nobody to pause."""
        return False

    def resume_reading(self) -> None:
        """There is nobody to resume."""


_NOBODY = _Nobody()
_CLOSED: deque[Any] = deque(maxlen=0)
"""The queue of every closed mailbox. It drops what is appended, so that `post` asks nothing."""


class Mailbox:
    """One channel's mailbox.

    Args:
        owner: who handles the mail.
        limits: how much may wait.
        first: the first mail. The owner takes it without being woken.

    Attributes:
        queue: what waits, the oldest first; written here only.
        busy: whether the owner is at work, or was woken.
        reading_paused: whether the gateway was asked not to read from the client.
    """

    __slots__ = ("_aside", "_bytes", "_limits", "_owner", "busy", "queue", "reading_paused")

    def __init__(self, owner: MailboxOwner, limits: MailboxLimits, first: Any) -> None:
        self._owner: MailboxOwner = owner
        self._limits = limits
        self.queue: deque[Any] = deque((first,))
        self._bytes = 0
        # Pushes that came while none may be handled; None: they may.
        self._aside: deque[commands.Push] | None = None
        self.busy = True
        self.reading_paused = False

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self.queue) + (len(self._aside) if self._aside else 0)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the pushes and broadcasts that wait."""
        return self._bytes

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self.queue is _CLOSED

    def count(self, *kinds: type[Any]) -> int:
        """How many messages of these types wait."""
        return sum(type(mail) in kinds for mail in self.queue)

    def post(self, mail: Any) -> None:
        """Queue mail. Over the bound the channel ends, and nothing else does. Dropped once it is closed."""
        queue = self.queue
        if len(queue) >= self._limits.max_messages:
            self._owner.overflow("worker.max_mailbox_messages", self._limits.max_messages)
            return
        queue.append(mail)
        if not self.busy:
            self.busy = True
            self._owner.wake()

    def post_sized(self, mail: SizedMail) -> None:
        """As `post`, for what carries a payload: over a mark the client is not read from for a while."""
        self._bytes = size = self._bytes + len(mail.data)
        self.post(mail)
        limits = self._limits
        if size > limits.pause_bytes or len(self.queue) > limits.pause_messages or self._aside is not None:
            self._check_limits()

    def post_last(self, mail: Any) -> None:
        """As `post`, for the client's last message: the pushes that were set aside came before it."""
        if self._aside is not None:
            self.put_back()
        self.post(mail)

    def requeue(self, mail: Any) -> None:
        """Queue again, behind all else, what was taken just now."""
        self.queue.append(mail)

    def take(self) -> Any:
        """The next mail in `queue`, which has some; SET_ASIDE for a push that must wait."""
        mail = self.queue.popleft()
        if type(mail) in SIZED:
            if self._aside is not None and type(mail) is commands.Push:
                self._aside.append(mail)
                return SET_ASIDE
            self._bytes -= len(mail.data)
        return mail

    def rest(self) -> bool:
        """The owner has handled some mail; returns whether there is more, for which it must go on."""
        self.busy = bool(self.queue)
        return self.busy

    def set_pushes_aside(self) -> None:
        """Hand out no pushes until `put_back`; they count among what waits."""
        if self._aside is None and not self.closed:
            self._aside = deque()

    def put_back(self) -> None:
        """Hand out pushes again, those that were set aside first."""
        aside, self._aside = self._aside, None
        if aside:
            self.queue.extendleft(reversed(aside))
            if not self.busy:
                self.busy = True
                self._owner.wake()

    def close(self) -> None:
        """Drop what waits and all that comes."""
        self.queue = _CLOSED
        self._aside = None
        self._bytes = 0
        self._owner = _NOBODY

    def resume_if_low(self) -> None:
        """Something was handled: the client is read from again when at most half of the marks is left."""
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
