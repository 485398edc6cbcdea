"""A client for Channelmesh, over WebSocket or plain ZeroMQ, and for Phoenix, over WebSocket.

async with Client("ws://localhost:4000/socket", params={"token": token}) as client:
    room = await client.join("room:lobby", {"name": "ana"})
    presence = room.presence()
    reply = await room.push("new_msg", {"body": "hi"})
    async for event, payload in room:
        print(event, payload)
"""

from mesh.client.channel import ClientChannel, Event
from mesh.client.client import Client
from mesh.client.history import History, Position
from mesh.client.presence import Presence
from mesh.errors import (
    BufferFull,
    ChannelClosed,
    ClientError,
    ConnectError,
    ConnectRefused,
    JoinRefused,
    JoinTimeout,
    PushError,
    PushLost,
    PushTimeout,
)

__all__ = [
    "BufferFull",
    "ChannelClosed",
    "Client",
    "ClientChannel",
    "ClientError",
    "ConnectError",
    "ConnectRefused",
    "Event",
    "History",
    "JoinRefused",
    "JoinTimeout",
    "Position",
    "Presence",
    "PushError",
    "PushLost",
    "PushTimeout",
]
