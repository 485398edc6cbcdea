"""Calls over a bus that loses, delays and doubles what a test says, in virtual time."""

import asyncio
import random
from types import SimpleNamespace

import msgspec
import pytest

from mesh.app import topics
from mesh.bus.answers import Answers
from mesh.bus.calls import CALL_AGAIN, Calls, Responder
from mesh.bus.frames import ANSWER, CALL, RESENT_KINDS, VERSION, Header
from mesh.errors import NodeGoneError
from tests.support.virtual_time import run_virtually


class Net:
    """What one node publishes comes to the node it is for, if `carry` does not say otherwise."""

    def __init__(self, carry=lambda kind, event: [0.001]):
        self.carry = carry
        self.said = []
        self.nodes = {}
        self.came = set()

    def bus(self, node):
        numbers = iter(range(1, 10_000))

        def publish_kind(kind, topic, event="", codec=0, data=b""):
            self.said.append((kind, event))
            header = Header(VERSION, kind, node, next(numbers), event, codec)
            for delay in self.carry(kind, event):
                asyncio.get_running_loop().call_later(delay, self._arrive, topic, header, data)

        return SimpleNamespace(publish_kind=publish_kind)

    def calls(self, node, is_gone=None):
        made = Calls(self.bus(node), is_gone)
        self.nodes[topics.of_node(node)] = made.handlers
        return made

    def answer(self, node, **answers):
        made = Responder(self.bus(node), answers.get)
        self.nodes[topics.of_node(node)] = made.handlers
        return made

    def _arrive(self, topic, header, data):
        handle = self.nodes.get(topic, {}).get(header.kind)
        if handle is not None and (header.origin, header.sequence) not in self.came:
            self.came.add((header.origin, header.sequence))  # a subscriber drops what comes twice
            handle(header, data)


class Counter:
    """Answers with how often it was asked, after `seconds`."""

    def __init__(self, seconds=0.0):
        self.asked = []
        self.seconds = seconds

    async def __call__(self, data):
        self.asked.append(data)
        number = len(self.asked)
        await asyncio.sleep(self.seconds)
        return b"%d" % number


def losing(*which):
    """Loses the messages at these positions, counted from 0."""
    count = iter(range(10_000))
    return lambda kind, event: [] if next(count) in which else [0.001]


def pair(net, seconds=0.0, is_gone=None):
    asker, counter = net.calls("a", is_gone), Counter(seconds)
    net.answer("b", count=counter)
    return asker, counter


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param((0,), id="the call"),
        pytest.param((1,), id="the answer"),
        pytest.param((0, 1), id="the call and the reminder"),
        pytest.param((0, 2), id="the call and the word that it never came"),
        pytest.param((0, 3), id="the call and its repetition"),
        pytest.param((0, 4), id="the call, and the answer to its repetition"),
        pytest.param((1, 3), id="the answer twice"),
        pytest.param((1, 2, 4), id="the answer, the reminder, the answer"),
    ],
)
def test_what_is_lost_is_repeated_and_carried_out_once(lost):
    async def scenario():
        asker, counter = pair(Net(losing(*lost)))
        assert await asker.call("b", "count", b"x", 12) == b"1"
        assert counter.asked == [b"x"]

    run_virtually(scenario())


def test_any_losses_doubles_and_delays_carry_out_a_call_once():
    async def scenario():
        for seed in range(200):
            chance = random.Random(seed)

            def carry(kind, event, chance=chance):
                return [chance.random() * 3 for _ in range(chance.choice((0, 1, 1, 1, 2)))]

            asker, counter = pair(Net(carry), seconds=chance.random() * 4)
            calls = [asker.call("b", "count", b"%d" % n, 60) for n in range(5)]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            assert len(counter.asked) == len(set(counter.asked)), seed
            got = [each for each in answers if isinstance(each, bytes)]
            assert len(got) == len(set(got)), seed
            assert all(isinstance(each, bytes | TimeoutError) for each in answers)

    run_virtually(scenario())


def test_a_call_that_takes_long_costs_a_few_reminders_and_no_repetition():
    async def scenario():
        net = Net()
        asker, _ = pair(net, seconds=60)
        assert await asker.call("b", "count", b"x", 100) == b"1"
        assert net.said.count((CALL, CALL_AGAIN)) == 4
        assert [each for each in net.said if each[1] == "count"] == [(CALL, "count"), (ANSWER, "count")]

    run_virtually(scenario())


def test_the_original_behind_its_repetition_is_dropped():
    async def scenario():
        delays = iter([[2.5]])
        asker, counter = pair(Net(lambda kind, event: next(delays, [0.001])))
        assert await asker.call("b", "count", b"x", 12) == b"1"
        await asyncio.sleep(5)
        assert counter.asked == [b"x"]

    run_virtually(scenario())


def test_a_program_that_gives_all_its_calls_one_number_is_answered_each_time():
    async def scenario():
        net = Net()
        _, counter = pair(net)
        program = net.bus("program")
        for n in range(3):
            program.publish_kind(
                CALL, topics.of_node("b"), "count", 0, msgspec.msgpack.encode((1, b"%d" % n))
            )
            await asyncio.sleep(0.1)
        assert counter.asked == [b"0", b"1", b"2"]

    run_virtually(scenario())


def test_no_two_calls_of_a_process_have_one_number():
    async def scenario():
        net = Net()
        _, counter = pair(net)
        again = net.calls("a")
        assert await again.call("b", "count", b"x", 12) == b"1"
        assert await again.call("b", "count", b"x", 12) == b"2"
        assert len(counter.asked) == 2

    run_virtually(scenario())


def test_a_call_to_a_node_that_is_gone_fails_at_once():
    async def scenario():
        asker, counter = pair(Net(), is_gone=lambda node: node == "b")
        started_at = asyncio.get_running_loop().time()
        with pytest.raises(NodeGoneError, match="b has stopped"):
            await asker.call("b", "count", b"x", 12)
        assert asyncio.get_running_loop().time() == started_at
        assert counter.asked == []

    run_virtually(scenario())


def test_calls_under_way_fail_when_their_node_is_gone():
    async def scenario():
        gone = set()
        asker, _ = pair(Net(), seconds=60, is_gone=gone.__contains__)
        calls = [asyncio.ensure_future(asker.call(node, "count", b"x", 12)) for node in ("b", "b", "c")]
        await asyncio.sleep(0.5)
        asker.fail_calls_to("b")
        done, pending = await asyncio.wait(calls, timeout=0.1)
        assert [type(each.exception()) for each in done] == [NodeGoneError] * 2
        (other,) = pending
        gone.add("c")  # found out only now
        with pytest.raises(NodeGoneError):
            await other
        assert asyncio.get_running_loop().time() < 2

    run_virtually(scenario())


def test_answers_and_calls_are_sent_again_when_a_proxy_is_lost():
    assert {CALL, ANSWER} <= RESENT_KINDS


def test_a_reminder_that_is_not_one_is_dropped():
    async def scenario():
        net = Net()
        _, counter = pair(net)
        stranger = net.bus("stranger")
        for data in (
            b"\xc1",
            msgspec.msgpack.encode((1, b"\xc1")),
            msgspec.msgpack.encode((2, msgspec.msgpack.encode(("count", 1)))),
            msgspec.msgpack.encode("x"),
        ):
            stranger.publish_kind(CALL, topics.of_node("b"), CALL_AGAIN, 0, data)
        await asyncio.sleep(1)
        assert counter.asked == []

    run_virtually(scenario())


# What was carried out


def test_answers_are_kept_for_a_time():
    answers = Answers(kept_seconds=10)
    answers.record_call(("a", 1), "count", 0.0)
    answers.record_answer(("a", 1), b"1")
    answers.record_call(("a", 2), "count", 9.0)
    assert answers.get(("a", 1)).answer == b"1"
    answers.record_call(("a", 3), "count", 11.0)
    assert answers.get(("a", 1)) is None
    assert answers.never_received(("a", 4), 11.0)
    assert not answers.never_received(("a", 2), 11.0)


def test_who_had_to_forget_early_does_not_say_that_a_call_never_came():
    answers = Answers(kept_seconds=10, max_calls=2)
    for number in range(3):
        answers.record_call(("a", number), "count", float(number))
    assert len(answers) == 2
    assert answers.get(("a", 0)) is None
    assert not answers.never_received(("a", 0), 3.0)
    assert answers.never_received(("a", 0), 12.5)


def test_the_bytes_of_answers_are_bounded_and_calls_without_theirs_stay_known():
    answers = Answers(max_bytes=10)
    for number in range(3):
        answers.record_call(("a", number), "count", 0.0)
        answers.record_answer(("a", number), b"12345")
    assert [answers.get(("a", number)).answer for number in range(3)] == [None, b"12345", b"12345"]
    assert not answers.never_received(("a", 0), 0.0)
    answers.record_call(("a", 1), "count", 0.0)
    answers.record_answer(("a", 1), b"1234")
    assert answers.get(("a", 2)).answer == b"12345"
    answers.record_call(("b", 1), "count", 100.0)
    assert len(answers) == 1
