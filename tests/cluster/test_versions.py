"""Nodes of other versions, made up: they are told, named once, and cost nobody else anything."""

import msgspec
import pytest
import zmq

from mesh.addresses import publish_address
from mesh.bus.discovery import placement
from mesh.bus.frames import ANNOUNCEMENT, VERSION, Header, encode_header
from mesh.link import commands
from tests.support.processes import cluster
from tests.support.until import PATIENCE, until, until_sync
from tests.support.websocket import PhoenixClient, run

APP = "examples.conformance:endpoint"


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("versions"), APP, gateways=1, workers=1) as each:
        yield each


class Stranger:
    """A node in pyzmq: it announces itself, and answers links as it is told."""

    def __init__(self, running, **announcement):
        self.context = zmq.Context()
        self.bus = self.context.socket(zmq.PUB)
        self.bus.connect(publish_address(running.status["proxies"][0]["address"]))
        self.router = self.context.socket(zmq.ROUTER)
        self.router.bind("tcp://127.0.0.1:*")
        self.router.linger = self.bus.linger = 0
        self.sequence = 0
        self.said = {
            "version": 1,
            "kind": "worker",
            "state": "up",
            "link": self.router.getsockopt_string(zmq.LAST_ENDPOINT),
            "routes": [["/socket", "room:*"]],
            **announcement,
        }

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.context.destroy(0)

    def announce(self):
        self.sequence += 1
        header = Header(VERSION, ANNOUNCEMENT, self.said["node"], self.sequence, "", 0)
        self.bus.send_multipart([b"$nodes\x00", encode_header(header), msgspec.msgpack.encode(self.said)])

    def hello(self):
        """(link, the gateway's Hello), announcing until it comes."""
        until_sync(lambda: self.announce() or self.router.poll(50))
        link, batch = self.router.recv_multipart()
        return link, commands.decode_to_worker(batch)[0]

    def say(self, link, *batch):
        self.router.send_multipart([link, msgspec.msgpack.encode(batch)])


def test_a_worker_that_speaks_no_common_version_gets_no_channel_and_is_named_once(running):
    with Stranger(running, node="worker-of-tomorrow") as stranger:
        link, hello = stranger.hello()
        assert hello.versions == commands.SPOKEN
        stranger.say(link, [15, 4, 5])

        async def scenario():
            def told():
                stranger.announce()
                return "worker=worker-of-tomorrow" in running.log()

            await until(told)
            client = await PhoenixClient.connect(running.urls[0])
            for number in range(10):
                stranger.announce()
                assert (await client.join(f"room:{number}"))[0] == "ok"

        run(scenario())
        assert not stranger.router.poll(0), "no second Hello, however often it announces itself"
        (line,) = [
            each for each in running.log().splitlines() if "worker-of-tomorrow" in each and "error" in each
        ]
        assert "theirs=4 to 5" in line.replace("'", "")
        assert "ours=1 to 3" in line.replace("'", "")


def test_a_worker_that_speaks_newer_versions_too_is_welcome(running):
    with Stranger(running, node="worker-of-both") as stranger:
        link, _ = stranger.hello()
        stranger.say(link, commands.Welcome(1, "worker-of-both"))
        until_sync(lambda: "worker=worker-of-both" in running.log())
        stranger.said["state"] = "down"
        stranger.announce()


def test_a_gateway_of_another_version_is_told_which_are_spoken(running):
    context = zmq.Context()
    try:
        (link,) = {each for each in addresses(running) if each}
        for hello, answer in (
            ([0, 5, "tomorrow", 4], [15, 1, 3]),
            ([0, 4, "both", 1], [1, 3]),
            ([0, 1, "old"], [1, 1]),
            ([0, 3, "newer only"], [1, 3]),
            ([0, 4, "tomorrow only"], [15, 1, 3]),
        ):
            dealer = context.socket(zmq.DEALER)
            dealer.linger = 0
            dealer.connect(link)
            dealer.send(msgspec.msgpack.encode([hello]))
            assert dealer.poll(1_000 * PATIENCE)
            assert msgspec.msgpack.decode(dealer.recv())[0][: len(answer)] == answer
            dealer.close()
    finally:
        context.destroy(0)


def addresses(running):
    """Of the workers' links, by listening to the bus."""
    with zmq.Context() as context, context.socket(zmq.SUB) as bus:
        bus.linger = 0
        bus.subscribe(b"$nodes\x00")
        bus.connect(running.status["proxies"][0]["address"] + ".sub")
        found = set()
        while not found:
            assert bus.poll(1_000 * PATIENCE)
            announcement = placement.decode(bus.recv_multipart()[2])
            if (
                announcement.state == "up"
                and announcement.node.startswith("worker-")
                and announcement.versions
            ):
                found.add(announcement.link)
        return found


def test_a_node_that_reads_other_headers_is_named_once_and_ignored(running):
    with Stranger(running, node="reads-tomorrows", versions=[2, 3]) as stranger:

        def named():
            stranger.announce()
            return running.log().count("node=reads-tomorrows") >= 2  # by the gateway and by the worker

        until_sync(named)
        for _ in range(20):
            stranger.announce()
        assert not stranger.router.poll(300), "no link to it"
        assert running.log().count("node=reads-tomorrows") == 2
