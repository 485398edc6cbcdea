"""gateway/introspection/tracing.py: what a gateway tells of single messages, and what it keeps."""

import asyncio
from types import SimpleNamespace

from mesh.app.channel import Channel
from mesh.app.routes import Route
from mesh.bus.frames import BROADCAST, RECORDED, VERSION, Received, Recorded
from mesh.bus.trace_call import MAX_MESSAGES, Question, decode_answer, encode
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.fanout import Fanout
from mesh.gateway.flow.backlog import Backlog
from mesh.gateway.introspection.tracing import MAX_TRACES, Tracing
from mesh.gateway.transports.base import Encoding
from mesh.protocol.messages import JSON, Message
from mesh.protocol.serializers.v2_json import V2JSON
from tests.support.gateway_channels import answer, place
from tests.support.until import until

V2 = Encoding(V2JSON(), lambda frame: frame.data)


class Newest(Channel):
    slow_consumer = "latest_only"


class Behind:
    """The outbox of a client that takes nothing."""

    def __init__(self):
        self.backlog = Backlog()

    def send(self, frame):
        self.backlog.add(frame, frame)


class Gateway:
    def __init__(self):
        self.fanout = Fanout("g")
        self.traces = Tracing(self.fanout, lambda: None)
        self.numbers = 0

    def join(self, outbox, topic="room:1", answered=True):
        self.numbers += 1
        client = SimpleNamespace(encoding=V2, outbox=outbox)
        join = Message("1", "1", topic, "phx_join", JSON, b"{}")
        channel = GatewayChannel(self.numbers, Route("room:*", Newest), join, client)
        place(channel)
        self.fanout.hold(channel)
        if answered:
            answer(channel)
            self.fanout.release(channel, 0)
        return channel

    def broadcast(self, sequence, origin="w", topic="room:1"):
        self.fanout.deliver(topic, Received(VERSION, BROADCAST, origin, sequence, "e", JSON), b"{}")

    async def ask(self, trace="t", topic="room:1", origin="", seconds=60.0, limit=10):
        return decode_answer(
            await self.traces.answer(encode(Question(trace, topic, origin, seconds, limit)))
        )


def scenario(test):
    def run():
        async def main():
            gateway = Gateway()
            try:
                await test(gateway)
            finally:
                gateway.traces.close()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


@scenario
async def test_the_fate_of_a_message_is_followed_until_nothing_of_it_waits(gateway):
    slow = Behind()
    gateway.join(slow)
    gateway.join(SimpleNamespace(send=lambda _: None))
    joining = gateway.join(slow, answered=False)
    assert (await gateway.ask()).outcomes == []
    gateway.broadcast(1)
    (outcome,) = (await gateway.ask()).outcomes
    assert (outcome.origin, outcome.sequence, outcome.event, outcome.bytes) == ("w", 1, "e", 2)
    assert (outcome.members, outcome.delivered, outcome.unsent, outcome.held) == (3, 1, 1, 1)
    gateway.broadcast(2)
    first, second = (await gateway.ask()).outcomes
    assert (first.dropped, first.unsent) == ({"conflated": 1}, 0)
    assert (second.delivered, second.unsent) == (1, 1)
    slow.backlog.pop()
    gateway.fanout.drop(joining)
    first, second = (await gateway.ask()).outcomes
    assert first.dropped == {"conflated": 1, "join_failed": 1}
    assert (second.delivered, second.waiting) == (2, 0)
    topic = gateway.fanout.stats("room:1")[0]
    assert topic.expected == topic.delivered + sum(topic.dropped.values()) == 6


@scenario
async def test_a_recorded_broadcast_is_known_by_its_original(gateway):
    gateway.join(SimpleNamespace(send=lambda _: None))
    await gateway.ask(origin="publisher")
    position = Recorded("k3v9", 1, 1, "publisher", 7)
    header = Received(VERSION, RECORDED, "recorder", 9, "e", JSON, None, None, position)
    gateway.fanout.deliver("room:1", header, b"{}")
    (outcome,) = (await gateway.ask(origin="publisher")).outcomes
    assert (outcome.origin, outcome.sequence, outcome.delivered) == ("publisher", 7, 1)


@scenario
async def test_only_what_was_asked_for_is_kept(gateway):
    gateway.join(Behind())
    gateway.join(Behind(), "room:2")
    await gateway.ask("mine", origin="me")
    await gateway.ask("all", limit=2)
    for sequence in range(1, 6):
        gateway.broadcast(sequence, "other")
        gateway.broadcast(sequence, "other", "room:2")
    gateway.broadcast(1, "me")
    assert [outcome.origin for outcome in (await gateway.ask("mine", origin="me")).outcomes] == ["me"]
    assert [outcome.sequence for outcome in (await gateway.ask("all")).outcomes] == [1, 2]


@scenario
async def test_a_gateway_without_members_says_so(gateway):
    seen = await gateway.ask(topic="room:nobody")
    assert (seen.members, seen.outcomes, seen.problem) == (0, [], "")


@scenario
async def test_nothing_is_kept_when_nobody_traces_any_more(gateway):
    gateway.join(Behind())
    await gateway.ask("one")
    await gateway.ask("two", seconds=0.001)
    assert gateway.fanout.tracing is not None
    await until(lambda: list(gateway.traces._traces) == ["one"])
    await gateway.ask("one", seconds=0)
    assert gateway.fanout.tracing is None
    gateway.broadcast(1)
    assert (await gateway.ask("one")).outcomes == []


@scenario
async def test_traces_are_bounded(gateway):
    gateway.join(Behind())
    for number in range(MAX_TRACES):
        assert (await gateway.ask(f"t{number}", limit=10**9)).problem == ""
    assert "traces are in progress already" in (await gateway.ask("one too many")).problem
    for sequence in range(1, MAX_MESSAGES + 50):
        gateway.broadcast(sequence)
    assert len((await gateway.ask("t0")).outcomes) == MAX_MESSAGES


@scenario
async def test_garbage_is_answered_with_a_problem(gateway):
    seen = decode_answer(await gateway.traces.answer(b"\xff"))
    assert seen.problem.startswith("not a question for a trace")
