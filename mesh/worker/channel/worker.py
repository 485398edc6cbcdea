"""What a channel asks of the worker that runs it. Channels (mesh/worker/channels.py) implements it."""

from collections.abc import Coroutine, Hashable, Mapping
from contextvars import Context
from typing import Any, Protocol

from mesh.bus.contract import Bus
from mesh.link import commands
from mesh.pubsub import PubSub
from mesh.settings import WorkerSettings
from mesh.worker.channel.mailbox import MailboxLimits
from mesh.worker.handoff.coordinator import MovableServer
from mesh.worker.handoff.state import TrackedPresence
from mesh.worker.runners import Runners
from mesh.worker.topic_members import LocalMembers


class ContextWorker(Protocol):
    """What a channel's context asks of its worker."""

    @property
    def pubsub(self) -> PubSub:
        """Where broadcasts go."""

    @property
    def members(self) -> LocalMembers:
        """Where the channel subscribes to topics."""

    def gateway_of(self, link: bytes) -> str:
        """The id of the gateway behind a link; empty if it is gone."""

    def send(self, link: bytes, command: commands.ToGateway, /) -> int:
        """Queue a command for the gateway behind a link; returns how many were sent there."""


class Presences(Protocol):
    """What is asked of the presences of all channels. PresenceRegistry implements it."""

    def untrack_all(self, owner: Hashable) -> None:
        """End the presences of a channel that has ended."""

    def tracked(self, owner: Hashable) -> tuple[TrackedPresence, ...]:
        """The presences of a channel."""

    def move_in(self, owner: Hashable, tracked: tuple[TrackedPresence, ...]) -> None:
        """Track the presences of a channel that was handed over."""


class ServerWorker(ContextWorker, Protocol):
    """What a channel's server asks of its worker."""

    @property
    def presences(self) -> Presences:
        """Of its channels."""

    @property
    def settings(self) -> WorkerSettings:
        """Of the worker."""

    @property
    def mailbox_limits(self) -> MailboxLimits:
        """How much may wait for one channel."""

    @property
    def runners(self) -> Runners:
        """Which run the channels."""

    @property
    def bus(self) -> Bus:
        """Numbers this worker's broadcasts."""

    def pause_reading(self, link: bytes, number: int) -> bool:
        """Ask a gateway not to read from a channel's client; False if it does not understand that."""

    def resume_reading(self, link: bytes, number: int) -> None:
        """Undo `pause_reading`."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], context: Context) -> None:
        """Run the end of a channel in a task that the worker owns."""

    def remove(self, server: MovableServer) -> None:
        """The channel has ended, or has moved: nothing more is for it."""

    def assigns_of(self, mount: str, topic: str) -> Mapping[str, Any]:
        """What the route of a topic assigns."""

    def move_out(self, server: MovableServer) -> None:
        """The channel's state is sent: its presences go on until another worker tracks them."""
