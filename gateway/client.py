"""One client, as the hub and its transport see it."""

import time
from collections.abc import Callable
from typing import Any

from mesh.app.mount import Mount
from mesh.debug import SocketInfo
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.session import Session
from mesh.gateway.flow.rate_limits import socket_limits
from mesh.gateway.transports.base import Encoding, Transport
from mesh.link import commands
from mesh.protocol.messages import MSGPACK
from mesh.settings import GatewaySettings, LimitSettings


class Client:
    """One connected, authenticated client.

    Args:
        next_number: gives each of its channels a number.
        settings: of the gateway.
        limits: of its rates.

    Attributes:
        mount: the path of its socket mount.
        id: the result of its handler's `id`.
        assigns: its handler's assigns, encoded as msgpack.
        encoding: the serializer and the frames of its transport.
        transport: its connection; `GONE` after its end.
        outbox: takes the frames that `encoding.ready` makes.
        session: decides about its channels.
    """

    __slots__ = ("assigns", "encoding", "id", "mount", "outbox", "session", "transport")

    def __init__(
        self,
        mount: Mount,
        id: str | None,
        assigns: bytes,
        encoding: Encoding,
        transport: Transport,
        outbox: Any,
        next_number: Callable[[], int],
        settings: GatewaySettings,
        limits: LimitSettings,
    ) -> None:
        self.mount = mount.path
        self.id = id
        self.assigns = assigns
        self.encoding = encoding
        self.transport = transport
        self.outbox = outbox
        self.session = Session(
            encoding.serializer,
            mount.routes,
            self,
            next_number,
            settings.max_channels_per_socket,
            settings.max_pending_bytes,
            socket_limits(limits, mount.routes, time.monotonic),
        )

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
