"""What programs on the bus may send to workers that record topics, and what it must not cost."""

import asyncio

import pytest

from mesh.bus.calls import Calls
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Recorded
from mesh.history import messages
from mesh.history.messages import COPY, FORGET_HERE, GIVE, READ_HERE, RECORD, RELEASE, SETTLED
from mesh.protocol.messages import JSON
from mesh.telemetry import counters
from tests.support.until import until
from tests.unit.mesh.history.workers import KEY, run, running

TOPIC = "room:1"
PACK = messages.encode
LOG = ["e" * 12, 7, "nobody", 1, [[1, "msg", 0, b"9", "p", 1, 0.0]], {"p": 1}]


def forge(mesh, offset, term, epoch="x" * 12, event="msg", origin="", sequence=0, topic=TOPIC):
    """As a program on the bus that is no worker."""
    position = Recorded(epoch, offset, term, origin, sequence)
    mesh.publisher.publish_recorded(topic, event, JSON, b"666" if event else b"", None, position)


def by_workers(mesh, topic=TOPIC):
    return [
        (header.recorded.epoch, header.recorded.offset, int(data))
        for name, header, data in mesh.recorded
        if name == topic and header.origin != "publisher" and header.event
    ]


@pytest.mark.parametrize(("offset", "term"), [(2**53, 2**53), (1, 2**53), (0, 0), (5, 2)])
@pytest.mark.parametrize("event", ["msg", "", "phx_close"])
def test_a_program_cannot_take_a_topic_from_its_recorder(offset, term, event):
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            before = counters.value("history_broadcasts_unannounced")
            forge(mesh, offset, term, event=event)
            mesh.say(TOPIC, 2)
            await until(lambda: len(by_workers(mesh)) == 2)
            (epoch, *_), *_ = heard = by_workers(mesh)
            assert heard == [(epoch, 1, 1), (epoch, 2, 2)]
            assert counters.value("history_broadcasts_unannounced") == before + 2
            await mesh.kill(mesh.first(TOPIC).name)
            mesh.say(TOPIC, 3)
            await until(lambda: by_workers(mesh)[-1] == (epoch, 3, 3))

    run(scenario)


def test_what_a_program_says_of_a_new_topic_does_not_decide_where_it_begins():
    async def scenario():
        async with running("a", "b") as mesh:
            forge(mesh, 1, 2**53)
            forge(mesh, 2**53, 2**53, event="")
            mesh.say(TOPIC, 1)
            await until(lambda: by_workers(mesh))
            ((epoch, offset, number),) = by_workers(mesh)
            assert (offset, number, mesh.recorded[-1][1].recorded.term) == (1, 1, 1)
            assert epoch != "x" * 12

    run(scenario)


def test_a_topic_whose_terms_are_used_up_begins_a_new_epoch():
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            first = mesh.first(TOPIC)
            for worker in mesh.workers.values():
                worker.recorder.records.store.get(TOPIC).term = 2**53
            await mesh.kill(first.name)
            mesh.say(TOPIC, 2)
            await until(lambda: len(by_workers(mesh)) == 2)
            assert mesh.recorded[-1][1].recorded.term <= 2**53
            assert by_workers(mesh)[1][1:] == (1, 2)

    run(scenario)


GARBAGE = (
    b"", b"\xc1", b"\x91" * 2_000, b"\xa1\xff", PACK([]), PACK(5), PACK([9, []]), PACK(["a", "b" * 300]), PACK(["x" * 300, "b"]),
    PACK([RECORD, [["room:9", ["", *LOG[1:]]]]]), PACK([RECORD, [["room:9", ["e" * 65, *LOG[1:]]]]]),
    PACK([RECORD, [["room:9", [LOG[0], -1, *LOG[2:]]]]]), PACK([RECORD, [["room:9", [LOG[0], 2**53 + 1, *LOG[2:]]]]]),
    PACK([RECORD, [["room:9", [*LOG[:2], "n" * 256, *LOG[3:]]]]]), PACK([COPY, [["room:9", [*LOG[:3], 2, *LOG[4:]]]]]),
    PACK([COPY, [["room:9", [*LOG[:4], [[1, "msg", 3, b"9", 5, 1, 0.0]], {}]]]]),
    PACK([COPY, [["room:9", [*LOG[:4], [[-1, "msg", 0, b"9", "p", 1, 0.0]], {}]]]]),
    PACK([COPY, [["room:9", [*LOG[:5], {"p": -1}]]]]), PACK([COPY, [["room:9", [*LOG[:5], {"p" * 256: 1}]]]]),
    PACK(["room:9\0\0"]), PACK("room:" + "x" * 5_000), PACK("$nodes"), PACK("room:a\0b"),
    PACK(["room:a\0b", None, None, None, 5]), PACK(["room:" + "x" * 5_000, None, None, None, 5]),
)  # fmt: skip


@pytest.mark.parametrize("name", [GIVE, SETTLED, RELEASE, READ_HERE, FORGET_HERE])
def test_garbage_in_calls_between_recorders_costs_a_line_and_a_count_only(name):
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            failed, malformed = counters.value("handlers_failed"), counters.value("bus_messages_malformed")
            calls = Calls(mesh.publisher, None)
            for data in GARBAGE:
                for worker in mesh.workers:
                    calls.cast(worker, name, data)
            await asyncio.sleep(0.05)
            assert counters.value("handlers_failed") == failed
            assert counters.value("bus_messages_malformed") > malformed
            for worker in mesh.workers.values():
                assert list(worker.recorder.store) == [TOPIC]
                assert worker.recorder.succession.settled
            mesh.say(TOPIC, 2)
            await until(lambda: [number for *_, number in mesh.heard(TOPIC)] == [1, 2])

    run(scenario)


def test_logs_of_nobody_are_not_taken():
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            calls = Calls(mesh.publisher, None)
            for worker in mesh.workers:
                calls.cast(worker, GIVE, PACK([RECORD, [[TOPIC, LOG], ["room:2", LOG]]]))
                calls.cast(worker, GIVE, PACK([COPY, [[TOPIC, LOG], ["room:3", LOG]]]))
                calls.cast(worker, RELEASE, PACK(["nobody", [TOPIC]]))
            await asyncio.sleep(0.01)
            for worker in mesh.workers.values():
                assert list(worker.recorder.store) == [TOPIC]
            mesh.say(TOPIC, 2)
            await until(lambda: len(mesh.heard(TOPIC)) == 2)
            assert [(offset, number) for _, offset, number in mesh.heard(TOPIC)] == [(1, 1), (2, 2)]

    run(scenario)


def test_views_of_nobody_do_not_displace_those_of_workers():
    async def scenario():
        async with running("a", "b") as mesh:
            succession = mesh.workers["a"].recorder.succession
            for number in range(1_500):
                succession.on_settled(f"nobody {number}", "digest")
            assert succession._told["b"] == succession.peers.digest
            assert len(succession._told) <= 1_001

    run(scenario)


def test_a_topic_that_no_application_could_use_has_no_history():
    async def scenario():
        async with running("a") as mesh:
            for topic in ("room:a\0b", "room:" + "x" * 5_000):
                mesh.say(topic, 1)
                assert mesh.kept.find(topic) is None
            assert not mesh.recorded
            assert not mesh.workers["a"].recorder.store

    run(scenario)


def test_a_broadcast_without_an_event_is_not_taken_for_a_claim():
    async def scenario():
        async with running("a") as mesh:
            mesh.say(TOPIC, 1, event="")
            mesh.say(TOPIC, 2)
            assert [offset for _, offset, _ in mesh.heard(TOPIC)] == [1]
            assert all(header.event for _, header, _ in mesh.recorded)

    run(scenario)


@pytest.mark.parametrize("recorded", [0, 20])
def test_an_announced_worker_that_answers_nothing_does_not_keep_topics_from_being_recorded(
    monkeypatch, recorded
):
    monkeypatch.setattr("mesh.history.handovers.RECORD_SECONDS", 0.2)
    monkeypatch.setattr("mesh.history.handovers.COPY_SECONDS", 0.2)
    monkeypatch.setattr("mesh.history.succession.FORCED_SECONDS", 0.5)

    async def scenario():
        async with running("a", "b") as mesh:
            topics = [f"room:{number}" for number in range(40)]
            for topic in topics[:recorded]:
                mesh.say(topic, 1)
            await mesh.confirmed()
            mute = Announcement(node="mute", kind="worker", history=(KEY, ("", ""), ("*", "\0")))
            for worker in mesh.workers.values():
                worker.recorder.announced(mute)
            for topic in topics:
                mesh.say(topic, 2)
            await until(
                lambda: all(mesh.heard(topic)[-1:] and mesh.heard(topic)[-1][2] == 2 for topic in topics), 8
            )
            await mesh.settled()
            for topic in topics:
                mesh.say(topic, 3)
            assert all(mesh.heard(topic)[-1][2] == 3 for topic in topics)  # at once
            for topic in topics[:recorded]:
                assert [offset for _, offset, _ in mesh.heard(topic)] == [1, 2, 3]

    run(scenario)


def test_a_worker_that_was_ignored_counts_again_when_it_speaks(monkeypatch):
    monkeypatch.setattr("mesh.history.succession.FORCED_SECONDS", 0.3)

    async def scenario():
        async with running("a", "b") as mesh:
            late = Announcement(node="c", kind="worker", history=(KEY,))
            for worker in mesh.workers.values():
                worker.recorder.announced(late)
            peers = [worker.recorder.succession.peers for worker in mesh.workers.values()]
            await mesh.settled()
            assert all("c" not in each.expected for each in peers)
            await mesh.add("c")
            await mesh.settled()
            assert all("c" in each.expected for each in peers)
            topics = [f"room:{number}" for number in range(20)]
            for topic in topics:
                mesh.say(topic, 1)
                assert mesh.first(topic).records(topic)

    run(scenario)
