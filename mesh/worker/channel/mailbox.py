"""What waits for one channel: in order, and within bounds (docs/protocol.md §3.3).

Mail comes from the link, from the bus (intercepted and subscribed broadcasts) and from the channel itself.
ChannelServer handles it.
"""

from abc import abstractmethod
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

from mesh.link import commands
from mesh.telemetry import counters, get_logger
from mesh.worker.channel.context import WorkerContext
from mesh.worker.channel.mail import InterceptedBroadcast, SubscribedBroadcast

if TYPE_CHECKING:
    from mesh.worker.channels import Channels

log = get_logger("mesh.channel")


class Mailbox(WorkerContext):
    """One channel's ear."""

    __slots__ = ("_bytes", "_finishing", "_held", "_mailbox", "_pausing")

    def __init__(
        self, channels: "Channels", link: bytes, join: commands.Join, execution_context: Context
    ) -> None:
        super().__init__(channels, link, join, execution_context)
        self._bytes = 0
        self._finishing = False
        # Pushes that came while none may be handled; None: they may.
        self._held: deque[commands.Push] | None = None
        self._mailbox: deque[Any] = deque()
        self._pausing = False

    @abstractmethod
    def _schedule(self) -> None:
        """Handle what waits, soon."""

    @abstractmethod
    def _kill(self, reason: str, command: type[commands.Crashed] | None) -> None:
        """End without handling it."""

    @property
    def waiting(self) -> int:
        """Messages in the mailbox."""
        return len(self._mailbox) + (len(self._held) if self._held else 0)

    @property
    def waiting_bytes(self) -> int:
        """Of the pushes and broadcasts that wait."""
        return self._bytes

    @property
    def leaving(self) -> bool:
        """Whether a leave waits."""
        return any(type(mail) is commands.Leave for mail in self._mailbox)

    def post(self, mail: Any) -> None:
        """Queue mail for this channel; over the bound the channel crashes, nobody else notices."""
        if self._ended:
            return
        if len(self._mailbox) >= self.channels.settings.max_mailbox_messages:
            self._overflow("worker.max_mailbox_messages")
            return
        self._mailbox.append(mail)
        if not self._running:
            self._schedule()

    def post_sized(self, mail: commands.Push | InterceptedBroadcast | SubscribedBroadcast) -> None:
        """As `post`, for what carries a payload: over a mark the client is not read from for a while."""
        self._bytes = size = self._bytes + len(mail.data)
        self.post(mail)
        marks = self.channels.marks
        if size > marks.bytes or len(self._mailbox) > marks.messages or self._held is not None:
            self._look_at_marks()

    def _look_at_marks(self) -> None:
        if self._ended:
            return
        if self._bytes > self.channels.settings.max_mailbox_bytes:
            self._overflow("worker.max_mailbox_bytes")
        elif self.waiting > self.channels.settings.max_mailbox_messages:
            self._overflow("worker.max_mailbox_messages")
        elif not self._pausing and self.channels.marks.passed(self.waiting, self._bytes):
            self._pausing = self.channels.pause_reading(self.link, self.number)

    def _look_at_low_marks(self) -> None:
        """Something was handled: the client is read from again when little enough is left."""
        if not self._ended and self.channels.marks.fallen(self.waiting, self._bytes):
            self._pausing = False
            self.channels.resume_reading(self.link, self.number)

    def pause_pushes(self, paused: bool) -> None:
        """Handle no pushes while it is true; everything else goes on. What waits then comes first."""
        if not paused:
            self._put_back()
        elif self._held is None and not self._finishing:
            self._held = deque()

    def _put_back(self) -> None:
        held, self._held = self._held, None
        if held and not self._ended:
            self._mailbox.extendleft(reversed(held))
            if not self._running:
                self._schedule()

    def _catch_up(self, last: Any) -> bool:
        """Before the last mail of a client comes what it pushed; returns whether there was any."""
        self._finishing = True
        if not self._held:
            self._held = None
            return False
        self._mailbox.appendleft(last)
        self._put_back()
        return True

    def _clear(self) -> None:
        """Handle nothing of what waits."""
        self._mailbox.clear()
        self._held = None

    def _overflow(self, setting: str) -> None:
        counters.count("mailboxes_overflowed")
        # A copy: the poster may be a callback of this channel, which runs in its context already.
        self.execution_context.copy().run(
            log.error,
            "mailbox is full: the channel ends",
            topic=self.topic,
            socket_id=self.channel.socket.id,
            limit=getattr(self.channels.settings, setting.partition(".")[2]),
            setting=setting,
        )
        self._kill("mailbox_overflow", commands.Crashed)
