"""Keeps the order of what a channel produces, although it takes two ways: the owner of that guarantee.

**The guarantee** (docs/protocol.md §2 and §3). A channel's callback broadcasts to its topic, pushes and
replies. Its own client must get these in the order in which the callback made them, as in Phoenix, where
all three go through one process. Here broadcasts go over the bus and commands over the link, and either may
be quicker. Besides, a channel gets no broadcast that its worker made before the join returned, and none is
lost from then on. Between different topics, and between different origins, nothing is promised.

**What proves it.** A worker numbers its broadcasts (`sequence`, on the bus) and counts its commands to each
gateway (on the link). Each way carries the last number of the other:

- *A command after broadcasts.* `after` in a command is the sequence of the worker's last broadcast to the
  channel's topic. The command waits until that broadcast has passed through this gateway
  (commands_after_broadcasts.py). `after` never falls from one command of a channel to the next, so commands
  that wait for the same origin and topic leave in the order in which they came. What the bus says it has
  delivered already, and every number up to the channel's `since`, is not waited for.
- *A broadcast after commands.* `sender.behind` in a broadcast's header is how many commands the worker had
  sent to this gateway when it last sent one for the channel. Until so many have come on the link, the
  broadcast is held for that one channel, and all later ones of the topic behind it; other members get it at
  once (broadcasts_after_commands.py). When the link says that command n has come, command n is carried out
  before the broadcasts that must follow it, and after those that must only follow n - 1.
- *The join.* Broadcasts are held for a channel from before its subscription on (held_broadcasts.py) and
  follow the answer to the join. `since` in Joined is the worker's sequence when the join returned: its
  broadcasts up to that number are not for the channel. As soon as one with a higher number has come from
  that worker, all later ones have higher numbers too, and the channel need not be looked at any more
  (numbers.py).

**What bounds the wait.** A broadcast may never come: a proxy took it along when it died. A command waits
`link.hold_seconds` at most, or HOLDS times as long while the bus has broadcasts that nobody has read yet,
for it may be among these; then the command goes out, which is counted and logged, and nothing waits for
that number again. A held broadcast needs no time-out of its own: it waits for commands on a link, which is
reliable until it ends, and when it ends the worker is forgotten and nothing waits for it any more. How much
is held for a channel is bounded by the fan-out; over the bound its client is closed as too slow.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.channels.gateway_channel import GatewayChannel
from gateway.ordering.broadcasts_after_commands import BroadcastsAfterCommands, Holder
from gateway.ordering.commands_after_broadcasts import CommandsAfterBroadcasts
from mesh.bus.contract import Bus
from mesh.bus.frames import Header
from mesh.link import commands


class InOrder(Protocol):
    """What is called when it is something's turn."""

    def deliver(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast from the bus goes to the topic's members."""

    def deliver_local(self, worker: str, broadcast: commands.Broadcast) -> None:
        """A broadcast from a link goes to the members that the worker runs."""

    def carry(self, channel: GatewayChannel, command: Any) -> None:
        """A command for a channel, of the worker that runs it."""


class Ordering:
    """What comes from the bus and from the links goes through here, and out in order.

    Args:
        gateway: this gateway's id.
        handler: gets everything, in order.
        holder: holds broadcasts for single channels.
        channels: of this gateway, by number.
        bus: knows which broadcasts have come.
        received: how many commands a worker has sent.
        hold_seconds: how long a command may wait for a broadcast.
    """

    def __init__(
        self,
        gateway: str,
        handler: InOrder,
        holder: Holder,
        channels: Mapping[int, GatewayChannel],
        bus: Bus,
        received: Callable[[str], int],
        hold_seconds: float,
    ) -> None:
        self._gateway = gateway
        self._handler = handler
        self._holder = holder
        self._channels = channels
        self._received = received
        self._broadcasts = BroadcastsAfterCommands(holder, channels, received)
        self._commands = CommandsAfterBroadcasts(
            self._in_turn, hold_seconds, bus.delivered, lambda: bus.unread
        )

    def on_broadcast(self, topic: str, header: Header, data: bytes) -> None:
        """A broadcast has come from the bus."""
        sender = header.sender
        if sender is not None and sender.gateway == self._gateway and not sender.skip:
            self._broadcasts.keep(header.origin, sender)
        self._handler.deliver(topic, header, data)
        self._commands.passed(header.origin, topic, header.sequence)

    def on_command(self, worker: str, command: Any) -> None:
        """A command has come from a worker."""
        if worker in self._broadcasts.waiting:
            # What the channel broadcast before it sent this command goes out before it.
            self._broadcasts.catch_up(worker, self._received(worker) - 1)
        if type(command) is commands.Broadcast:
            self._commands.follow(worker, command.topic, command.after, command)
        elif type(command) is not commands.Ping:
            channel = self._channels.get(command.channel)
            if channel is None or channel.worker != worker:
                return  # ended here already
            after = getattr(command, "after", 0)
            if after > channel.since:
                self._commands.follow(worker, channel.topic, after, command)
            else:
                self._handler.carry(channel, command)
        if worker in self._broadcasts.waiting:
            self._broadcasts.catch_up(worker, self._received(worker))

    def joined(self, channel: GatewayChannel) -> None:
        """The client has the answer to its join, or a channel has moved: what was held for it follows."""
        self._holder.hold(channel)  # if it moved: it may intercept other events there
        self._holder.release(channel, self._received(channel.worker or ""))

    def channel_lost(self, channel: GatewayChannel) -> None:
        """The worker of a pending channel is gone: commands that broadcasts were to follow never come."""
        self._holder.forget_commands(channel)

    def worker_lost(self, worker: str) -> None:
        """A worker is gone: what waits for its broadcasts goes out, nothing more will come."""
        self._commands.forget(worker)
        self._broadcasts.forget(worker)

    def _in_turn(self, worker: str, command: Any) -> None:
        """A command that had to follow a broadcast."""
        if type(command) is commands.Broadcast:
            self._handler.deliver_local(worker, command)
            return
        channel = self._channels.get(command.channel)
        if channel is not None and channel.worker == worker:
            self._handler.carry(channel, command)
