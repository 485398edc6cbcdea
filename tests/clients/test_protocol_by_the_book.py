"""docs/protocol.md is enough: a publisher, a subscriber and a client in pyzmq and msgpack, with nothing of ours."""

import contextlib
import json
import time

import msgpack
import pytest
import zmq

from tests.support.until import PATIENCE


@pytest.fixture
def running(clusters):
    found = clusters.two_proxies()
    found.wait_until_ready()
    return found


class Bus:
    """§2: a PUB for each proxy, a SUB for all."""

    def __init__(self, context, proxies):
        self.sequence = 0
        self.publishers = []
        self.subscriber = context.socket(zmq.SUB)
        self.subscriber.linger = 0
        self.seen = set()
        for proxy in proxies:
            publisher = context.socket(zmq.PUB)
            publisher.linger = 0
            publisher.connect(proxy)
            self.publishers.append(publisher)
            self.subscriber.connect(proxy + ".sub")

    def publish(self, kind, topic, event, payload, through=0):
        self.sequence += 1
        header = msgpack.packb([1, kind, "by-the-book", self.sequence, event, 0, None])
        self.publishers[through].send_multipart([topic.encode() + b"\0", header, payload])

    def subscribe(self, topic):
        """§2.2: returns when both proxies have it."""
        self.subscriber.subscribe(topic.encode() + b"\0")
        sync = f"$sync:by-the-book:{time.monotonic_ns()}"
        self.subscriber.subscribe(sync.encode() + b"\0")
        back = set()
        while len(back) < len(self.publishers):
            for number in range(len(self.publishers)):
                self.publish(3, sync, str(number), b"", through=number)
            while self.subscriber.poll(50):
                first, header, _ = self.subscriber.recv_multipart()
                if first == sync.encode() + b"\0":
                    back.add(msgpack.unpackb(header)[4])
        self.subscriber.unsubscribe(sync.encode() + b"\0")

    def next(self):
        """The next broadcast that has not come before."""
        while True:
            assert self.subscriber.poll(1_000 * PATIENCE), "no broadcast"
            first, header, payload = self.subscriber.recv_multipart()
            version, kind, origin, sequence, event, codec, *_ = msgpack.unpackb(header)
            if version != 1 or kind != 1 or (origin, sequence) in self.seen:
                continue
            self.seen.add((origin, sequence))
            assert codec == 0
            return first[:-1].decode(), event, json.loads(payload)


class Client:
    """§1.2: a DEALER."""

    def __init__(self, context, address):
        self.dealer = context.socket(zmq.DEALER)
        self.dealer.linger = 0
        self.dealer.connect(address)
        opening = {"path": "/socket", "params": {"vsn": "2.0.0"}}
        self.dealer.send_multipart([b"O", json.dumps(opening).encode()])
        assert self.next()[0] == b"O"

    def next(self):
        while True:
            assert self.dealer.poll(1_000 * PATIENCE), "no answer"
            kind, data = self.dealer.recv_multipart()
            if kind != b"P":
                return kind, json.loads(data)

    def say(self, *message):
        self.dealer.send_multipart([b"T", json.dumps(message).encode()])


@contextlib.contextmanager
def everybody(running):
    context = zmq.Context()
    try:
        proxies = [each["address"] for each in running.status["proxies"]]
        yield Bus(context, proxies), Client(context, running.address("gateway.1", "zeromq"))
    finally:
        context.destroy(0)


def test_a_program_publishes_to_clients_and_hears_what_they_broadcast(running):
    with everybody(running) as (bus, client):
        bus.subscribe("room:book")
        client.say("1", "1", "room:book", "phx_join", {})
        joined = ["1", "1", "room:book", "phx_reply", {"status": "ok", "response": {"topic": "room:book"}}]
        assert client.next() == (b"T", joined)
        client.say("1", "2", "room:book", "new_msg", {"from": "a client"})
        assert client.next() == (b"T", [None, None, "room:book", "new_msg", {"from": "a client"}])
        assert bus.next() == ("room:book", "new_msg", {"from": "a client"})
        for through in (0, 1):
            bus.publish(1, "room:book", "news", json.dumps({"through": through}).encode(), through)
            assert client.next() == (b"T", [None, None, "room:book", "news", {"through": through}])
            assert bus.next() == ("room:book", "news", {"through": through})


def test_what_is_sent_again_is_delivered_once(running):
    with everybody(running) as (bus, client):
        client.say("1", "1", "room:twice", "phx_join", {})
        client.next()
        bus.subscribe("room:twice")
        for through in (0, 1):
            bus.sequence = 1_000
            bus.publish(1, "room:twice", "once", b"{}", through)
            bus.next() if through == 0 else None
        bus.publish(1, "room:twice", "after", b"{}", through=1)
        assert client.next()[1][3] == "once"
        assert client.next()[1][3] == "after"


def test_every_node_announces_itself_as_the_book_says(running):
    with everybody(running) as (bus, _):
        bus.subscribe("$nodes")
        kinds = set()
        deadline = time.monotonic() + 20
        while kinds != {"gateway", "worker"}:
            assert time.monotonic() < deadline
            first, header, payload = bus.subscriber.recv_multipart()
            if first != b"$nodes\0":
                continue
            assert msgpack.unpackb(header)[:2] == [1, 2]
            said = msgpack.unpackb(payload)
            assert said["version"] == 1
            assert said["versions"] == [1, 1]
            assert set(said["proxies"]) <= {each["address"] for each in running.status["proxies"]}
            if said["kind"] == "worker":
                assert ["/socket", "room:*"] in said["routes"]
                assert said["link"]
            kinds.add(said["kind"])
