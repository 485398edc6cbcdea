"""Keeps broadcasts and commands in the order in which a channel made them: the owner of that guarantee.

**The problem.** A callback of a channel broadcasts to its topic, pushes to its client and replies. In
Phoenix, all three pass through the same process, so the client receives them in the order in which they
were made. Here, broadcasts travel over the bus and commands (pushes, replies, the answer to the join) over
the link, and either may be faster.

**The guarantee** (docs/protocol.md §2 and §3). For each channel: its client receives the channel's own
broadcasts and commands in the order in which the worker made them; it receives no broadcast that its worker
made before `join` returned; and from then on it misses none. Nothing is promised about the relative order
of different topics, or of different origins.

**Which number proves it.** A worker numbers its broadcasts on the bus (`sequence`), and a link counts the
commands that the worker has sent to this gateway (`received`). A message on either way carries the last
number of the other way that it must follow:

- *A command after broadcasts: `after`.* A command carries the sequence of the worker's last broadcast to
  the channel's topic. It waits until that broadcast has passed through this gateway
  (commands_after_broadcasts.py). It does not wait if the bus reports the broadcast as delivered, or if
  `after` is not above the channel's `since`. `after` never decreases from one command of a channel to the
  next, so commands that wait for the same origin and topic leave in the order in which they arrived.
- *A broadcast after commands: `sender.behind`.* The header of a channel's broadcast carries how many
  commands the worker had sent to this gateway when it last sent one for that channel. Until that many
  commands have arrived, the broadcast is held for this channel, and so are all later broadcasts of the
  topic; other members receive them at once (broadcasts_after_commands.py). When command n arrives, the
  broadcasts that must only follow n - 1 go out before it, then the command is carried out, then those that
  must follow n go out.
- *The answer to a join: `since`.* Broadcasts are held for a channel from before its topic is subscribed
  (held_broadcasts.py), and follow the reply to the join. `since` in Joined is the worker's sequence when
  `join` returned: broadcasts of that worker up to this number are not for the channel. The numbers of one
  worker to one topic only increase, so the first one above `since` proves that all later ones are above it
  as well, and the comparison is no longer needed for that channel (numbers.py).

**Recorded broadcasts.** A kept broadcast of a topic with a history comes twice (mesh/bus/contract.py): as
its publisher sent it, and recorded, with its position; what the recorder itself publishes comes only
recorded. The former is ignored and the latter delivered, in the order in which the recorder published them,
and the fan-out drops those that came before (gateway/fanout/topic_position.py). All numbers are compared as
if the original had been delivered: `after`, `sender.behind`, `since` and `sender.skip` name its origin and
sequence. An original has therefore not passed when it arrives, but when it comes recorded; unrecorded.py
remembers the numbers in between. For a channel whose client has asked for positions, the position in the
history takes the place of `since`: the answer to the join is followed by what the client has missed up to
an offset, and then by the recorded broadcasts above that offset (gateway/channels/recovery.py). Broadcasts
are held for it until the missed ones are complete.

**Why waiting cannot deadlock.** A command waits only for broadcasts made before it, and a broadcast only
for commands sent before it. Both relations follow the order in which the worker made them, so there is no
cycle. A recorder waits for neither.

**What limits the wait.** A broadcast may never arrive, because a proxy that had it has died. So a command
waits `link.hold_seconds` at most, or 1 + UNREAD_HOLDS times as long while the bus has broadcasts that have
not been read yet, because the expected one may be among them. After that, the command is carried out
without the broadcast, which is counted (`mesh_hold_timeouts_total`) and logged; later commands do not wait
for that number again. A held broadcast waits for commands on a link, and a link loses nothing until it
ends. When it ends, the worker's joined channels end, and what is held for a channel whose join goes to
another worker no longer waits for commands (`channel_lost`). Only a worker that counts wrong makes a
broadcast wait longer: after LINK_HOLDS times `link.hold_seconds`, its numbers are ignored. The number and
the bytes of the broadcasts held for one channel are limited by the fan-out, which closes the client as too
slow when the limit is exceeded.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from mesh.bus.contract import Bus, Keeps
from mesh.bus.frames import BROADCAST, Received, original
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.ordering.broadcasts_after_commands import BroadcastsAfterCommands, Holder
from mesh.gateway.ordering.commands_after_broadcasts import CommandsAfterBroadcasts
from mesh.gateway.ordering.unrecorded import Unrecorded
from mesh.link import commands


class InOrder(Protocol):
    """Receives broadcasts and commands in their order; implemented by the hub."""

    def deliver(self, topic: str, header: Received, data: bytes) -> None:
        """Deliver a broadcast from the bus to the topic's members."""

    def admits(self, topic: str, header: Received) -> bool:
        """Return whether a recorded broadcast is to be delivered: it is not an old one, nor a claim."""

    def carry(self, channel: GatewayChannel, command: Any) -> None:
        """Carry out a command for a channel, sent by the worker that runs it."""


class Receivers(Holder, Protocol):
    """The members of all topics; implemented by the fan-out."""

    def __contains__(self, topic: str) -> bool:
        """Return whether a topic has members here."""

    def deliver_local(self, worker: str, broadcast: commands.Broadcast) -> None:
        """Deliver a broadcast from a link to those members whose channels the worker runs."""


class Ordering:
    """Receives everything from the bus and the links, and passes it on in order.

    Args:
        gateway: this gateway's id.
        handler: receives everything in order.
        receivers: the members of all topics.
        channels: this gateway's channels, by number.
        bus: reports which broadcasts have been delivered.
        received: returns the number of commands that a worker has sent.
        hold_seconds: how long a command may wait for a broadcast.
        keeps: returns whether broadcasts of (topic, event) are kept; None if the application has no
            history.
    """

    def __init__(
        self,
        gateway: str,
        handler: InOrder,
        receivers: Receivers,
        channels: Mapping[int, GatewayChannel],
        bus: Bus,
        received: Callable[[str], int],
        hold_seconds: float,
        keeps: Keeps | None = None,
    ) -> None:
        self._gateway = gateway
        self._handler = handler
        self._receivers = receivers
        self._channels = channels
        self._received = received
        self._keeps = keeps
        self._unrecorded = Unrecorded()
        self._broadcasts = BroadcastsAfterCommands(receivers, channels, received, hold_seconds)
        self._commands = CommandsAfterBroadcasts(
            self._in_turn, hold_seconds, bus.delivered, lambda: bus.unread, self._unrecorded
        )

    def on_broadcast(self, topic: str, header: Received, data: bytes) -> None:
        """Deliver a broadcast from the bus, and then release the commands that waited for it."""
        keeps = self._keeps
        if keeps is not None and header.kind == BROADCAST and keeps(topic, header.event):
            if self._received(header.origin) and topic in self._receivers:
                self._unrecorded.add(header.origin, topic, header.sequence)
            return
        sender = header.sender
        if sender is not None and sender.gateway == self._gateway and not sender.skip:
            header = self._broadcasts.keep(header, sender, header.origin)
        self._handler.deliver(topic, header, data)
        self._commands.passed(header.origin, topic, header.sequence)

    def on_recorded(self, topic: str, header: Received, data: bytes) -> None:
        """As `on_broadcast`, for a recorded broadcast; its original was ignored.

        During an upgrade, another node may keep what is not kept here. Then the original was delivered.
        """
        made, sender = original(header), header.sender
        if not self._handler.admits(topic, header):
            return
        if made is not header and (self._keeps is None or not self._keeps(topic, header.event)):
            return
        if sender is not None and sender.gateway == self._gateway and not sender.skip:
            header = self._broadcasts.keep(header, sender, made.origin)
        self._handler.deliver(topic, header, data)
        self._commands.recorded(made.origin, topic, made.sequence)

    def on_command(self, worker: str, command: Any) -> None:
        """Carry out a command from a worker, or hold it until the broadcasts before it have passed."""
        if worker in self._broadcasts.waiting:
            # Broadcasts that the channel made before it sent this command go out before it.
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
        """Release what was held for a channel whose join has been answered, or that has moved."""
        self._receivers.hold(channel)  # after a move: its new worker may intercept other events
        self._receivers.release(channel, self._received(channel.worker or ""))

    def channel_lost(self, channel: GatewayChannel) -> None:
        """Note that the worker of a pending channel is gone: broadcasts must not wait for its commands."""
        self._receivers.forget_commands(channel)

    def topic_left(self, topic: str) -> None:
        """Note that a topic has no members here any longer."""
        self._unrecorded.forget_topic(topic)

    def worker_lost(self, worker: str) -> None:
        """Release everything that waits for a worker that is gone."""
        self._commands.forget(worker)
        self._broadcasts.forget(worker)

    def _in_turn(self, worker: str, command: Any) -> None:
        """Carry out a command that had to wait for a broadcast, unless its channel has ended."""
        if type(command) is commands.Broadcast:
            self._receivers.deliver_local(worker, command)
            return
        channel = self._channels.get(command.channel)
        if channel is not None and channel.worker == worker:
            self._handler.carry(channel, command)
