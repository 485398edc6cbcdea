"""Makes a session, feeds it messages and reads its actions."""

import itertools

import msgspec

from mesh.app.channel import Channel
from mesh.app.routes import Route, RouteTable
from mesh.gateway.channels import worker_commands
from mesh.gateway.channels.actions import Send
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.channels.session import Session
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.protocol.serializers.v2_json import V2JSON
from tests.support.gateway_channels import place


class Room(Channel):
    pass


ROUTES = RouteTable([Route("room:*", Room)])


def make(serializer=None, max_channels=100, max_pending_bytes=10_000):
    return Session(
        serializer or V2JSON(),
        ROUTES,
        "client",
        itertools.count(1).__next__,
        max_channels,
        max_pending_bytes,
    )


def say(session, *message):
    return session.received(msgspec.json.encode(list(message)), False)


def sent(actions):
    return [msgspec.json.decode(each.frame.data) for each in actions if isinstance(each, Send)]


def kinds(actions):
    return [type(action) for action in actions]


def reply(join_ref, ref, topic, status, response):
    return [join_ref, ref, topic, "phx_reply", {"status": status, "response": response}]


UNMATCHED = {"reason": "unmatched topic"}


def join(session, topic="room:1", ref="1", **joined) -> GatewayChannel:
    (start,) = say(session, ref, ref, topic, "phx_join", {})
    accept(session, start.channel, **joined)
    return start.channel


def accept(session, channel, intercepts=(), since=0, data=b"{}"):
    if channel.worker is None:
        place(channel)
    return worker_commands.joined(
        session, channel, commands.Joined(channel.number, intercepts, since, JSON, data)
    )


def refuse(session, channel, data):
    if channel.worker is None:
        place(channel)
    return worker_commands.refused(session, channel, commands.Refused(channel.number, JSON, data))
