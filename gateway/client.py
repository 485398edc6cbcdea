"""One client, as the hub and its transport see it."""

from typing import Any

from gateway.channels.gateway_channel import GatewayChannel
from gateway.channels.session import Session
from gateway.transports.base import Encoding, Transport
from mesh.debug import SocketInfo
from mesh.link import commands
from mesh.messages import MSGPACK


class Client:
    """One connected, authenticated client.

    Attributes:
        mount: the path of its socket mount.
        id: the result of its handler's `id`.
        assigns: its handler's assigns, encoded as msgpack.
        encoding: the serializer and the frames of its transport.
        transport: its connection; `GONE` after its end.
        outbox: takes the frames that `encoding.ready` makes.
        session: its channels; set by the hub.
    """

    __slots__ = ("assigns", "encoding", "id", "mount", "outbox", "session", "transport")

    def __init__(
        self,
        mount: str,
        id: str | None,
        assigns: bytes,
        encoding: Encoding,
        transport: Transport,
        outbox: Any,
    ) -> None:
        self.mount = mount
        self.id = id
        self.assigns = assigns
        self.encoding = encoding
        self.transport = transport
        self.outbox = outbox
        self.session: Session

    def join(self, channel: GatewayChannel) -> commands.Join:
        """Return the JOIN of a channel that is joining or moving."""
        assert channel.pending is not None
        join, moved = channel.pending.join, channel.pending.moved
        return commands.Join(
            channel.number,
            self.mount,
            channel.topic,
            channel.push_join_ref,
            self.id,
            self.transport.name,
            self.encoding.serializer.name,
            self.assigns if moved is None else moved.assigns,
            join.codec if moved is None else MSGPACK,
            join.data if moved is None else moved.data,
            moved is not None,
        )

    def info(self) -> SocketInfo:
        """Return what `Hub.sockets` lists about it."""
        return SocketInfo(
            self.mount,
            self.id,
            self.transport.name,
            self.encoding.serializer.name,
            {
                topic: "joined" if channel.phase.joined else "joining"
                for topic, channel in self.session.channels.items()
            },
        )
