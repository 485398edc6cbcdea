"""What lives on a node, as lists for a person to read. Source: Phoenix.Debug.

`GatewayNode.hub.sockets()` and `WorkerNode.channels.live()` return them, in the loop of the node.
"""

from typing import NamedTuple


class SocketInfo(NamedTuple):
    """One client of a gateway.

    Attributes:
        mount: path of its socket mount.
        id: what its handler's `id` returned.
        transport: "websocket" or "longpoll".
        serializer: "v2_json", "v2_msgpack" or "v1_json".
        channels: topic → "joining" or "joined".
    """

    mount: str
    id: str | None
    transport: str
    serializer: str
    channels: dict[str, str]


class ChannelInfo(NamedTuple):
    """One channel of a worker.

    Attributes:
        topic: what was joined.
        status: "joining", "joined" or "leaving".
        channel: name of its class.
        socket_id: whose channel it is.
        gateway: id of the gateway that holds its client.
        waiting: messages in its mailbox.
    """

    topic: str
    status: str
    channel: str
    socket_id: str | None
    gateway: str
    waiting: int
