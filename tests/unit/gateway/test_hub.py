"""gateway/hub.py: sessions, fan-out, links and bus together, with all of them replaced by lists."""

import asyncio
import json

from gateway.hub import Client, Hub
from gateway.transports.base import Encoding
from mesh import Channel, SocketHandler
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.debug import SocketInfo
from mesh.link import commands
from mesh.messages import JSON, Sender
from mesh.mount import Mount
from mesh.serializers.v2_json import V2JSON
from mesh.settings import GatewaySettings

WORKER = "w"
ENCODING = Encoding(V2JSON(), lambda frame: json.loads(frame.data))


class Room(Channel):
    pass


class User(SocketHandler):
    channels = {"room:*": Room}


class Bus:
    def __init__(self):
        self.subscribed, self.came = [], set()

    def subscribe(self, subscription):
        self.subscribed.append(subscription)

    def unsubscribe(self, subscription):
        self.subscribed.remove(subscription)

    def when_subscribed(self, callback):
        callback()

    def delivered(self, origin, sequence):
        return (origin, sequence) in self.came


class Workers:
    def __init__(self):
        self.count, self.sent = 0, []

    def place(self, mount, channel, key):
        return WORKER

    def send(self, worker, command):
        self.sent.append(command)

    def received(self, worker):
        return self.count

    def linked(self, worker):
        return worker == WORKER

    def forget(self, channel): ...


class Outbox(list):
    send = list.append


class Transport:
    name = "websocket"

    def __init__(self):
        self.closed = []

    def close(self, code, reason):
        self.closed.append(code)


class Gateway:
    """A hub with one client."""

    def __init__(self):
        self.bus, self.workers = Bus(), Workers()
        self.hub = Hub("g", self.bus, self.workers, GatewaySettings(), 60.0)
        self.mount = Mount(User).at("/socket")
        self.client = self.connect()

    def connect(self, socket_id=None):
        client = Client("/socket", socket_id, b"\x80", ENCODING, Transport(), Outbox())
        if socket_id:
            self.bus.subscribe(socket_id.encode() + b"\0")
        self.hub.connect(client, self.mount)
        return client

    def say(self, *message):
        self.hub.received(self.client, json.dumps(message).encode(), False)

    def hear(self, command):
        self.workers.count += 1
        self.hub._command(WORKER, command)

    def broadcast(self, sequence, event, sender=None, topic="room:1"):
        self.bus.came.add((WORKER, sequence))
        self.hub.broadcast(topic, Header(VERSION, BROADCAST, WORKER, sequence, event, JSON, sender), b"{}")

    def events(self):
        return [message[3] for message in self.client.outbox]


def scenario(test):
    def run():
        async def main():
            test(Gateway())

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
def test_what_a_channel_broadcasts_right_after_its_join_follows_the_answer_and_its_own_pushes(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    # the bus is quicker than the link: the broadcast was made after Joined and one push
    gateway.broadcast(1, "after", Sender("g", 1, False, 2))
    assert gateway.events() == []
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    assert gateway.events() == ["phx_reply"]
    gateway.hear(commands.Pushed(1, 0, "pushed", JSON, b"{}"))
    assert gateway.events() == ["phx_reply", "pushed", "after"]
    for sequence in (2, 3):
        gateway.broadcast(sequence, "later", Sender("g", 1, False, 2))
        gateway.hear(commands.Pushed(1, sequence, "pushed", JSON, b"{}"))
    assert gateway.events() == ["phx_reply", "pushed", "after", "later", "pushed", "later", "pushed"]


@scenario
def test_a_broadcast_that_waits_for_the_join_alone_goes_out_with_its_answer(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.broadcast(1, "after", Sender("g", 1, False, 1))
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    assert gateway.events() == ["phx_reply", "after"]
    gateway.hear(commands.Pushed(1, 1, "pushed", JSON, b"{}"))
    gateway.broadcast(2, "later")
    assert gateway.events() == ["phx_reply", "after", "pushed", "later"]


@scenario
def test_a_client_that_goes_ends_its_channels_and_subscriptions(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.say("2", "2", "room:2", "phx_join", {})
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    assert sorted(gateway.bus.subscribed) == [b"room:1\0", b"room:2\0"]
    gateway.hub.disconnected(gateway.client, "closed")
    assert gateway.bus.subscribed == []
    assert gateway.workers.sent[-1] == commands.SocketDown([1, 2], "closed")
    gateway.hear(commands.Joined(2, (), 0, JSON, b"{}"))  # too late: nobody is there
    gateway.broadcast(9, "later")
    assert gateway.events() == ["phx_reply"]


@scenario
def test_a_lost_worker_crashes_joined_channels_and_moves_pending_joins(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    gateway.say("2", "2", "room:2", "phx_join", {})
    joins = [each for each in gateway.workers.sent if isinstance(each, commands.Join)]
    gateway.hub._worker_lost(WORKER)
    assert gateway.events() == ["phx_reply", "phx_error"]
    again = [each for each in gateway.workers.sent if isinstance(each, commands.Join)]
    assert [each.channel for each in again] == [joins[0].channel, joins[1].channel, joins[1].channel]


@scenario
def test_what_a_dead_worker_left_behind_does_not_hold_up_the_next_join(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.broadcast(1, "after", Sender("g", 1, False, 9))  # Joined and the rest died with the worker
    gateway.hub._worker_lost(WORKER)
    gateway.workers.count = 0
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    gateway.broadcast(2, "later")
    assert gateway.events() == ["phx_reply", "after", "later"]


@scenario
def test_disconnect_on_an_id_closes_its_sockets_only(gateway):
    mine, other = gateway.connect("users:1"), gateway.connect("users:2")
    gateway.broadcast(1, "something", topic="users:1")
    assert mine.transport.closed == []
    gateway.broadcast(2, "disconnect", topic="users:1")
    assert (mine.transport.closed, other.transport.closed) == ([1001], [])
    assert gateway.bus.subscribed == [b"users:2\0"]


@scenario
def test_a_local_disconnect_closes_the_sockets_of_this_gateway(gateway):
    mine = gateway.connect("users:1")
    gateway.hub.local_broadcast("users:1", "disconnect", {})
    assert mine.transport.closed == [1001]


@scenario
def test_the_clients_and_their_channels_can_be_listed(gateway):
    gateway.connect("users:1")
    gateway.say("1", "1", "room:1", "phx_join", {})
    gateway.hear(commands.Joined(1, (), 0, JSON, b"{}"))
    gateway.say("2", "2", "room:2", "phx_join", {})
    assert gateway.hub.sockets() == [
        SocketInfo("/socket", None, "websocket", "v2_json", {"room:1": "joined", "room:2": "joining"}),
        SocketInfo("/socket", "users:1", "websocket", "v2_json", {}),
    ]
