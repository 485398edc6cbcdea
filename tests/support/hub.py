"""A gateway's hub with one client, and lists in place of its bus, its workers and its connections."""

import asyncio
import json

from mesh import Channel, SocketHandler
from mesh.app.history import KeptTopics
from mesh.app.mount import Mount
from mesh.bus.frames import BROADCAST, VERSION, Received
from mesh.gateway.hub import Hub
from mesh.gateway.transports.base import Encoding
from mesh.protocol.messages import JSON
from mesh.protocol.serializers.v2_json import V2JSON
from mesh.settings import GatewaySettings
from tests.support.bus import Bus

WORKER = "w"
ENCODING = Encoding(V2JSON(), lambda frame: json.loads(frame.data), lambda ready, *_: ready)


class Room(Channel):
    pass


class Paced(Channel):
    slow_consumer = "pause_publisher"


class User(SocketHandler):
    channels = {"room:*": Room, "paced:*": Paced}


class Workers:
    """One worker; `counts` has how many commands came from it."""

    def __init__(self):
        self.counts, self.sent = {WORKER: 0}, []

    def place(self, mount, channel, key):
        return WORKER

    def send(self, worker, command):
        self.sent.append(command)

    def received(self, worker):
        return self.counts.get(worker, 0)

    def linked(self, worker):
        return worker in self.counts

    def forget(self, channel): ...

    def mark_draining(self, worker): ...

    def tell_all(self, command):
        self.sent.append(command)

    def tell(self, worker, command):
        self.sent.append(command)


class Outbox(list):
    send = list.append
    watermark = None
    unsent_bytes = 0


class Transport:
    name = "websocket"

    def __init__(self):
        self.closed, self.paused, self.slow = [], False, []

    def close(self, code, reason):
        self.closed.append(code)

    def close_slow(self, unsent):
        self.slow.append(unsent)

    def pause(self):
        assert not self.paused
        self.paused = True

    def resume(self):
        assert self.paused
        self.paused = False


class Gateway:
    """A hub with one client; what the client hears is in its outbox."""

    def __init__(self, workers=None, user=User, hold_seconds=60.0, **settings):
        self.bus, self.workers = Bus(), workers or Workers()
        self.told = []
        self.mount = Mount(user).at("/socket")
        self.hub = Hub(
            "g", self.bus, lambda _: self.workers, GatewaySettings(**settings), hold_seconds,
            self.told.append, kept=KeptTopics({"/socket": self.mount}),
        )  # fmt: skip
        self.client = self.connect()

    def connect(self, socket_id=None, encoding=ENCODING):
        if socket_id:
            self.bus.subscribe(socket_id.encode() + b"\0")
        return self.hub.connect(self.mount, socket_id, b"\x80", encoding, Transport(), Outbox())

    def say(self, *message):
        """From the client."""
        self.hub.received(self.client, json.dumps(message).encode(), False)

    def hear(self, command, worker=WORKER):
        """From a worker, over its link."""
        self.workers.counts[worker] += 1
        self.hub.on_command(worker, command)

    def broadcast(self, sequence, event, origin=WORKER, sender=None, topic="room:1"):
        """From the bus."""
        self.bus.came.add((origin, sequence))
        header = Received(VERSION, BROADCAST, origin, sequence, event, JSON, sender)
        self.hub.on_broadcast(topic, header, b"{}")

    def events(self):
        """What the client has heard."""
        return [message[3] for message in self.client.outbox]


def scenario_with(make):
    """A decorator: the test gets what `make` makes, within a running loop."""

    def scenario(test):
        def run():
            async def main():
                test(make())

            asyncio.run(main())

        run.__name__ = test.__name__
        return run

    return scenario
