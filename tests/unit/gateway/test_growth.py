"""Four times as much to do takes about four times as long: nobody can send a gateway quadratic work."""

import asyncio
import json
from collections import deque
from time import process_time

import pytest

from mesh.gateway.fanout.delivery_stats import DeliveryStats, TopicStats
from mesh.gateway.flow.backlog import Backlog, broadcast_frame
from mesh.gateway.ordering.commands_after_broadcasts import CommandsAfterBroadcasts
from mesh.gateway.ordering.unrecorded import Unrecorded
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.protocol.serializers.registry import BY_NAME
from mesh.worker.handoff.recent_broadcasts import RecentBroadcasts
from tests.support.hub import WORKER, Gateway, Workers

TIMES = 4
TOLERATED = 1.75 * TIMES
"""Quadratic work takes 16 times as long."""


class Answering(Workers):
    """A worker that accepts every join, replies to every push and ends what is to end, when it is its turn."""

    def __init__(self):
        super().__init__()
        self.sent = deque()

    def work(self, gateway):
        while self.sent:
            command = self.sent.popleft()
            if type(command) is commands.Join:
                gateway.hear(commands.Joined(command.channel, (), 0, JSON, b"{}"))
            elif type(command) is commands.Push:
                gateway.hear(commands.Reply(command.channel, 0, command.ref, "ok", JSON, b"{}"))
            elif type(command) is commands.Replace:
                gateway.hear(commands.Closed(command.channel, 0))
            elif type(command) is commands.Leave:
                gateway.hear(commands.Reply(command.channel, 0, command.ref, "ok", JSON, b"{}"))
                gateway.hear(commands.Closed(command.channel, 0))


class Silent(Workers):
    """A worker that has not answered yet."""


def say_all(gateway, messages, client=None):
    for message in messages:
        gateway.hub.received(client or gateway.client, json.dumps(message).encode(), False)


def joined_clients(number, workers=None):
    """A gateway with so many clients, each joined to room:1."""
    gateway = Gateway(workers or Answering())
    clients = []
    for _ in range(number):
        client = gateway.connect()
        clients.append(client)
        say_all(gateway, [["1", "1", "room:1", "phx_join", {}]], client)
    gateway.workers.work(gateway)
    return gateway, clients


def lose_the_worker(gateway):
    """And let all the turns pass that its channels need."""
    gateway.hub.on_lost(WORKER, False)
    while gateway.hub._lost._lost:
        gateway.hub._lost._end_slice()


def joins_of_one_topic(number):
    gateway = Gateway(Answering(), max_pending_bytes=100_000_000)
    messages = [[str(n), str(n), "room:1", "phx_join", {}] for n in range(number)]

    def work():
        say_all(gateway, messages)
        gateway.workers.work(gateway)
        assert sum(message[3] == "phx_reply" for message in gateway.client.outbox) == number

    return work


def joins_and_leaves_of_one_topic(number):
    gateway = Gateway(Answering(), max_pending_bytes=100_000_000)
    events = ["phx_join", "phx_leave"]
    messages = [[str(n // 2), str(n), "room:1", events[n % 2], {}] for n in range(number)]

    def work():
        say_all(gateway, messages)
        gateway.workers.work(gateway)
        assert gateway.hub.counts()[1] == 0

    return work


def joins_and_pushes_of_one_topic(number):
    gateway = Gateway(Answering(), max_pending_bytes=100_000_000)
    messages = [[None, str(n), "room:1", "phx_join" if n % 2 == 0 else "echo", {}] for n in range(number)]

    def work():
        say_all(gateway, messages)
        gateway.workers.work(gateway)
        assert sum(message[3] == "phx_reply" for message in gateway.client.outbox) == number

    return work


def pushes_behind_a_pending_join(number):
    gateway = Gateway(Answering(), max_pending_bytes=100_000_000)
    messages = [["1", str(n), "room:1", "echo" if n else "phx_join", {}] for n in range(number)]

    def work():
        say_all(gateway, messages)
        gateway.workers.work(gateway)

    return work


def joins_of_many_topics_over_the_limit(number):
    gateway = Gateway(Answering(), max_channels_per_socket=10)
    messages = [[str(n), str(n), f"room:{n}", "phx_join", {}] for n in range(number)]
    return lambda: say_all(gateway, messages)


def joins_of_many_topics(number):
    gateway = Gateway(Answering(), max_channels_per_socket=number)
    messages = [[str(n), str(n), f"room:{n}", "phx_join", {}] for n in range(number)]

    def work():
        say_all(gateway, messages)
        gateway.workers.work(gateway)
        gateway.hub.disconnected(gateway.client, "closed")

    return work


def a_worker_dies_under_joined_channels(number):
    gateway, clients = joined_clients(number)

    def work():
        lose_the_worker(gateway)
        assert all(client.outbox[-1][3] == "phx_error" for client in clients)

    return work


def a_worker_dies_under_pending_joins(number):
    gateway = Gateway(Silent())
    clients = [gateway.connect() for _ in range(number)]
    for client in clients:
        say_all(gateway, [["1", "1", "room:1", "phx_join", {}]], client)

    def work():
        lose_the_worker(gateway)
        assert len(gateway.workers.sent) == 2 * number

    return work


def a_worker_is_behind_and_catches_up(number):
    gateway, _clients = joined_clients(number)

    def work():
        gateway.hub.on_behind(WORKER, True)
        gateway.hub.on_behind(WORKER, False)

    return work


def clients_of_one_topic_go(number):
    gateway, clients = joined_clients(number)

    def work():
        for client in clients:
            gateway.hub.disconnected(client, "closed")
        assert not gateway.hub.fanout.members("room:1")

    return work


def clients_with_one_id_are_disconnected(number):
    gateway = Gateway(Answering())
    gateway.bus.subscribe = gateway.bus.unsubscribe = lambda _: None
    for _ in range(number):
        gateway.connect("user:1")

    def work():
        gateway.broadcast(1, "disconnect", topic="user:1")
        assert len(gateway.hub.clients) == 1

    return work


def broadcasts_held_for_a_join(number):
    gateway = Gateway(Silent())
    gateway.hub.fanout._max_held = number
    say_all(gateway, [["1", "1", "room:1", "phx_join", {}]])
    (join,) = gateway.workers.sent

    def work():
        for sequence in range(number):
            gateway.broadcast(sequence + 1, "news", origin="other")
        gateway.hear(commands.Joined(join.channel, (), 0, JSON, b"{}"))
        assert len(gateway.client.outbox) == number + 1

    return work


def broadcasts_that_wait_by_policy(policy):
    def case(number):
        stats = TopicStats("room:1", policy, number // 2, DeliveryStats())
        backlog = Backlog()

        def work():
            for n in range(number):
                frame = broadcast_frame(b"x" * 20, stats, f"e{n % 7}")
                backlog.add(frame, frame)
                if n % 5 == 0:
                    backlog.add(b"reply", b"reply")
            backlog.trim(1_000)
            while backlog:
                backlog.advance(len(backlog.data(100)))

        return work

    case.__name__ = f"broadcasts_that_wait_{policy}"
    return case


def commands_that_wait_for_a_broadcast(number):
    released = []
    order = CommandsAfterBroadcasts(
        lambda *each: released.append(each), 60.0, lambda *_: False, lambda: False, Unrecorded()
    )

    def work():
        for n in range(number):
            order.follow(WORKER, f"room:{n % 2}", n + 1, n)
        for n in range(number):
            order.passed(WORKER, f"room:{n % 2}", n + 1)
        assert len(released) == number
        order._timer.cancel()

    return work


def topics_whose_channels_move(number):
    recent = RecentBroadcasts(frozenset(["e"]), lambda: 0.0)

    class Told:
        event, origin, sequence = "e", "n", 1

    def work():
        for n in range(number):
            recent.add(f"room:{n}", Told, b"{}")
        for n in range(number):
            assert recent.seen(f"room:{n}") == {"n": 1}
            assert not list(recent.after(f"room:{n}", {"n": 1}))

    return work


def a_wide_payload(name):
    serializer = BY_NAME[name]

    def case(number):
        payload = {"list": [[n] for n in range(number)], "map": {str(n): {} for n in range(number)}}
        if name == "v1_json":
            data = json.dumps({"topic": "room:1", "event": "e", "ref": "1", "payload": payload}).encode()
        else:
            data = json.dumps(["1", "1", "room:1", "e", payload]).encode()
        return lambda: [serializer.decode(data, False) for _ in range(3)]

    case.__name__ = f"a_wide_payload_{name}"
    return case


CASES = [
    (joins_of_one_topic, 500),
    (joins_and_leaves_of_one_topic, 500),
    (joins_and_pushes_of_one_topic, 500),
    (pushes_behind_a_pending_join, 250),
    (joins_of_many_topics_over_the_limit, 125),
    (joins_of_many_topics, 125),
    (a_worker_dies_under_joined_channels, 175),
    (a_worker_dies_under_pending_joins, 125),
    (a_worker_is_behind_and_catches_up, 250),
    (clients_of_one_topic_go, 175),
    (clients_with_one_id_are_disconnected, 175),
    (broadcasts_held_for_a_join, 175),
    (broadcasts_that_wait_by_policy("close"), 500),
    (broadcasts_that_wait_by_policy("drop_oldest"), 500),
    (broadcasts_that_wait_by_policy("latest_only"), 500),
    (commands_that_wait_for_a_broadcast, 500),
    (topics_whose_channels_move, 250),
    (a_wide_payload("v1_json"), 1_000),
    (a_wide_payload("v2_json"), 1_000),
]


def seconds(case, number):
    """Processor time of the work of one case, in a loop of its own; what prepares it does not count."""

    async def run():
        work = case(number)
        started = process_time()
        work()
        return process_time() - started

    return asyncio.run(run())


@pytest.mark.parametrize(("case", "number"), CASES, ids=[case.__name__ for case, _ in CASES])
def test_four_times_as_much_takes_four_times_as_long(case, number):
    for _ in range(5):
        some = min(seconds(case, number) for _ in range(3))
        more = min(seconds(case, TIMES * number) for _ in range(2))
        if more <= TOLERATED * some + 0.005:
            return
    raise AssertionError(f"{number}: {some:.4f} s, {TIMES * number}: {more:.4f} s")
