"""What a channel needs from the worker that runs it. Implemented by Channels (mesh/worker/channels.py)."""

from collections.abc import Coroutine, Hashable, Mapping
from contextvars import Context
from typing import Any, Protocol

from mesh.app.history import KeptTopics
from mesh.app.pubsub import Histories, PubSub
from mesh.bus.contract import Bus
from mesh.history.recorder import Recorder
from mesh.link import commands
from mesh.settings import WorkerSettings
from mesh.worker.channel.mailbox import MailboxLimits
from mesh.worker.handoff.coordinator import MovableServer
from mesh.worker.handoff.state import TrackedPresence
from mesh.worker.runners import Runners
from mesh.worker.topic_members import LocalMembers


class ContextWorker(Protocol):
    """What a channel's context needs from its worker."""

    @property
    def pubsub(self) -> PubSub:
        """Publishes broadcasts."""

    @property
    def members(self) -> LocalMembers:
        """The channels by topic, where subscriptions are made."""

    @property
    def histories(self) -> Histories:
        """The kept broadcasts of all topics."""

    def gateway_of(self, link: bytes) -> str:
        """Return the id of the gateway at a link; empty if it is gone."""

    def send(self, link: bytes, command: commands.ToGateway, /) -> int:
        """Queue a command for the gateway at a link; return the number of commands sent there."""


class Presences(Protocol):
    """What is asked of the presences of all channels. PresenceRegistry implements it."""

    def untrack_all(self, owner: Hashable) -> None:
        """End the presences of a channel that has ended."""

    def flush(self, topic: str) -> None:
        """Send the members of a topic the changes collected so far."""

    def tracked(self, owner: Hashable) -> tuple[TrackedPresence, ...]:
        """The presences of a channel."""

    def move_in(self, owner: Hashable, tracked: tuple[TrackedPresence, ...]) -> None:
        """Track the presences of a channel that was handed over."""


class ServerWorker(ContextWorker, Protocol):
    """What a channel's server needs from its worker."""

    @property
    def presences(self) -> Presences:
        """Of its channels."""

    @property
    def settings(self) -> WorkerSettings:
        """The settings of the worker."""

    @property
    def mailbox_limits(self) -> MailboxLimits:
        """How much may wait for one channel."""

    @property
    def runners(self) -> Runners:
        """Run the channels' callbacks."""

    @property
    def bus(self) -> Bus:
        """Numbers this worker's broadcasts."""

    @property
    def kept(self) -> KeptTopics:
        """The topics that have a history."""

    @property
    def recorder(self) -> Recorder:
        """Reads the histories that clients ask for."""

    def recovers(self, link: bytes) -> bool:
        """Return whether the gateway at a link can deliver what a client has missed."""

    def pause_reading(self, link: bytes, number: int) -> bool:
        """Ask a gateway not to read from a channel's client; return False if it does not support that."""

    def resume_reading(self, link: bytes, number: int) -> None:
        """Undo `pause_reading`."""

    def spawn(self, coroutine: Coroutine[Any, Any, None], context: Context) -> None:
        """Run the end of a channel in a task of the worker."""

    def remove(self, server: MovableServer) -> None:
        """Remove a channel that has ended or moved."""

    def assigns_of(self, mount: str, topic: str) -> Mapping[str, Any]:
        """Return the assigns of the route for a topic."""

    def move_out(self, server: MovableServer) -> None:
        """Keep the presences of a channel that has moved until another worker tracks them."""
