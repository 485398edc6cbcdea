"""What is live on a node, as lists for a person to read. Source: Phoenix.Debug.

`GatewayNode.hub.sockets()` and `WorkerNode.channels.live()` return them; call these in the node's event
loop.
"""

from typing import NamedTuple


class SocketInfo(NamedTuple):
    """One client of a gateway.

    Attributes:
        mount: the path of its socket mount.
        id: the result of its handler's `id`.
        transport: "websocket", "longpoll" or "zeromq".
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
        topic: the topic that was joined.
        status: "joining", "joined" or "leaving".
        channel: the name of its class.
        socket_id: the id of its socket.
        gateway: the id of the gateway that its client is connected to.
        waiting: the number of messages in its mailbox.
    """

    topic: str
    status: str
    channel: str
    socket_id: str | None
    gateway: str
    waiting: int
