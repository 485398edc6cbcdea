"""Which worker records a topic, and what survives its death."""

import asyncio

import msgspec

from mesh.bus.frames import BROADCAST, original
from tests.support.until import until
from tests.unit.mesh.history.workers import Mesh, run, running

TOPIC = "room:1"


def check_heard(mesh, topic, numbers):
    heard = mesh.heard(topic)
    assert [number for _, _, number in heard] == numbers
    assert [offset for _, offset, _ in heard] == list(range(1, len(numbers) + 1))
    assert len({epoch for epoch, _, _ in heard}) == 1


def test_broadcasts_of_every_publisher_get_the_next_offset():
    async def scenario():
        async with running("a", "b", "c") as mesh:
            for number in range(0, 40, 4):
                mesh.say(TOPIC, number)
                for at, name in enumerate("abc", 1):
                    mesh.workers[name].say(TOPIC, number + at)
            await until(lambda: len(mesh.heard(TOPIC)) == 40)
            check_heard(mesh, TOPIC, list(range(40)))
            for worker in mesh.workers.values():
                numbers, page = await worker.numbers(TOPIC)
                assert numbers == list(range(40))
                assert page.offset == 40

    run(scenario)


def test_events_that_are_not_kept_get_no_position():
    async def scenario():
        async with running("a") as mesh:
            mesh.workers["a"].say(TOPIC, 1, "typing")
            mesh.say(TOPIC, 2, "typing")
            mesh.workers["a"].say(TOPIC, 3)
            assert [number for _, _, number in mesh.heard(TOPIC)] == [3]

    run(scenario)


def test_the_worker_with_the_copy_continues_the_epoch_of_a_dead_one():
    async def scenario():
        async with running("a", "b", "c") as mesh:
            for number in range(10):
                mesh.say(TOPIC, number)
            await mesh.confirmed()
            for number in range(10, 20):
                mesh.say(TOPIC, number)
            await mesh.kill(mesh.first(TOPIC).name)
            for number in range(20, 30):
                mesh.say(TOPIC, number)
            await until(lambda: len(mesh.heard(TOPIC)) == 30)
            check_heard(mesh, TOPIC, list(range(30)))

    run(scenario)


def test_every_worker_may_die_in_turn_while_new_ones_come():
    async def scenario():
        async with running("a", "b") as mesh:
            said = 0
            for name in ("c", "d", "e", "f"):
                for _ in range(5):
                    mesh.say(TOPIC, said)
                    said += 1
                await mesh.add(name)
                for _ in range(5):
                    mesh.say(TOPIC, said)
                    said += 1
                await mesh.settled()
                await mesh.confirmed()
                await mesh.kill(mesh.first(TOPIC).name)
                for _ in range(5):
                    mesh.say(TOPIC, said)
                    said += 1
                await mesh.settled()
                await mesh.confirmed()
            await until(lambda: len(mesh.heard(TOPIC)) == said)
            check_heard(mesh, TOPIC, list(range(said)))

    run(scenario)


def test_a_worker_that_starts_takes_over_what_it_should_record():
    async def scenario():
        async with running("a") as mesh:
            names = [f"room:{number}" for number in range(50)]
            for topic in names:
                mesh.workers["a"].say(topic, 0)
            await mesh.add("b")
            await until(lambda: all(mesh.first(topic).records(topic) for topic in names))
            for topic in names:
                mesh.workers["a"].say(topic, 1)
                mesh.workers["b"].say(topic, 2)
            await until(lambda: all(len(mesh.heard(topic)) == 3 for topic in names))
            for topic in names:
                heard = mesh.heard(topic)
                assert sorted(number for _, _, number in heard) == [0, 1, 2]
                assert [offset for _, offset, _ in heard] == [1, 2, 3]
                assert len({epoch for epoch, _, _ in heard}) == 1
            await mesh.confirmed()
            await mesh.kill("b")
            for topic in names:
                mesh.say(topic, 3)
            await until(lambda: all(len(mesh.heard(topic)) == 4 for topic in names))
            assert all(len({epoch for epoch, _, _ in mesh.heard(topic)}) == 1 for topic in names)

    run(scenario)


def test_a_rolling_restart_keeps_every_epoch():
    async def scenario():
        async with running("a", "b") as mesh:
            names, said = [f"room:{number}" for number in range(20)], 0
            for old, new in (("a", "c"), ("b", "d"), ("c", "e"), ("d", "f")):
                for topic in names:
                    mesh.say(topic, said)
                    mesh.first(topic).say(topic, said + 1)
                said += 2
                await mesh.stop(old)
                for topic in names:
                    mesh.say(topic, said)
                said += 1
                await mesh.add(new)
                await mesh.settled()
                await mesh.confirmed()
            await until(lambda: all(len(mesh.heard(topic)) == said for topic in names))
            for topic in names:
                check_heard(mesh, topic, list(range(said)))

    run(scenario)


def test_a_worker_that_stops_before_the_copies_are_given_hands_its_topics_over():
    async def scenario():
        async with running("a") as mesh:
            names = [f"room:{number}" for number in range(20)]
            for topic in names:
                mesh.say(topic, 0)
            await mesh.confirmed()
            await mesh.add("b")
            await mesh.stop("a")
            for topic in names:
                mesh.say(topic, 1)
            await until(lambda: all(len(mesh.heard(topic)) == 2 for topic in names))
            for topic in names:
                check_heard(mesh, topic, [0, 1])

    run(scenario)


def test_a_topic_without_a_copy_begins_a_new_epoch_when_its_recorder_dies():
    async def scenario():
        async with running("a") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.kill("a")
            await mesh.add("b")
            await mesh.settled()
            mesh.say(TOPIC, 2)
            await until(lambda: len(mesh.heard(TOPIC)) == 2)
            (first, _, _), (second, offset, _) = mesh.heard(TOPIC)
            assert first != second
            assert offset == 1
            _, page = await mesh.workers["b"].numbers(TOPIC, first, 1)
            assert not page.complete

    run(scenario)


def test_forgetting_begins_a_new_epoch_on_whichever_worker_it_is_asked():
    async def scenario():
        async with running("a", "b", "c") as mesh:
            mesh.say(TOPIC, 1)
            numbers, before = await mesh.workers["a"].numbers(TOPIC)
            assert numbers == [1]
            for worker in mesh.workers.values():
                page = await worker.recorder.forget(TOPIC)
                assert page.epoch != before.epoch
                numbers, after = await worker.numbers(TOPIC)
                assert (numbers, after.epoch, after.offset) == ([], page.epoch, 0)

    run(scenario)


def test_broadcasts_before_the_workers_know_each_other_are_recorded_once_they_do():
    async def scenario():
        mesh = Mesh(settle_seconds=0.1)
        for name in ("a", "b"):
            await mesh.add(name)
        for number in range(5):
            mesh.workers["a"].say(TOPIC, number)
        assert mesh.heard(TOPIC) == []
        await until(lambda: len(mesh.heard(TOPIC)) == 5)
        check_heard(mesh, TOPIC, list(range(5)))
        await mesh.close()

    run(scenario)


def test_of_two_recorders_the_one_of_the_later_term_counts_and_nothing_is_lost():
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 0)
            await mesh.confirmed()
            first = mesh.first(TOPIC)
            (second,) = [each for each in mesh.workers.values() if each is not first]
            second.recorder.gone(first.name)  # wrongly: it lives
            await until(lambda: second.records(TOPIC))
            first.say(TOPIC, 1)
            mesh.say(TOPIC, 2)
            await until(lambda: not (first.records(TOPIC) and second.records(TOPIC)))
            await second.numbers(TOPIC)
            await until(lambda: {number for _, _, number in mesh.heard(TOPIC)} == {0, 1, 2})

    run(scenario)


def test_a_broadcast_that_comes_after_its_recorded_version_does_not_wait_for_a_recorder():
    """It was sent again through another proxy; a third worker has no log to know it from."""

    async def scenario():
        async with running("a", "b", "c") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            (third,) = [each for each in mesh.workers.values() if TOPIC not in each.recorder.store]
            recorded = next(header for topic, header, _ in mesh.recorded if topic == TOPIC)
            position = recorded.recorded._replace(offset=2, sequence=9)
            recorded = msgspec.structs.replace(recorded, recorded=position)
            late = msgspec.structs.replace(original(recorded), kind=BROADCAST, recorded=None)
            known = third.recorder.records.originals
            third.recorder.on_recorded(TOPIC, recorded, b"2")
            third.recorder.on_broadcast(TOPIC, late, b"2")
            assert len(known) == 0
            third.recorder.on_broadcast(TOPIC, msgspec.structs.replace(late, sequence=10), b"3")
            assert len(known) == 1

    run(scenario)


def test_a_query_does_not_wait_for_a_recorder_that_died_before_it_was_asked():
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            first = mesh.first(TOPIC)
            (second,) = [each for each in mesh.workers.values() if each is not first]
            _, before = await second.numbers(TOPIC)
            await mesh.workers.pop(first.name).close()
            query = asyncio.create_task(second.numbers(TOPIC, before.epoch, 0))
            await asyncio.sleep(0)
            second.recorder.gone(first.name)
            numbers, page = await query
            assert (numbers, page.epoch, page.complete) == ([1], before.epoch, True)

    run(scenario)


def test_a_broadcast_that_is_sent_again_behind_later_ones_is_recorded():
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say("room:other", 0)
            mesh.say(TOPIC, 1)
            await until(lambda: len(mesh.heard(TOPIC)) == 1)
            late = original(next(header for topic, header, _ in mesh.recorded if topic == TOPIC))
            late = msgspec.structs.replace(late, kind=BROADCAST, recorded=None, sequence=late.sequence - 1)
            for worker in mesh.workers.values():
                worker.recorder.on_broadcast(TOPIC, late, b"0")
                worker.recorder.on_broadcast(TOPIC, late, b"0")
            await until(lambda: len(mesh.heard(TOPIC)) == 2)
            assert [number for _, _, number in mesh.heard(TOPIC)] == [1, 0]

    run(scenario)


def test_a_copy_that_has_missed_something_is_made_complete_again():
    async def scenario():
        async with running("a", "b") as mesh:
            mesh.say(TOPIC, 1)
            await mesh.confirmed()
            first = mesh.first(TOPIC)
            (second,) = [each for each in mesh.workers.values() if each is not first]
            second.deaf = True
            mesh.say(TOPIC, 2)
            second.deaf = False
            mesh.say(TOPIC, 3)
            copy = second.recorder.store.get(TOPIC)
            assert not copy.complete
            await until(lambda: copy.complete)
            await mesh.confirmed()
            await mesh.kill(first.name)
            mesh.say(TOPIC, 4)
            await until(lambda: len(mesh.heard(TOPIC)) == 4)
            check_heard(mesh, TOPIC, [1, 2, 3, 4])

    run(scenario)


def test_a_successor_in_a_new_epoch_records_nothing_twice_of_what_it_had_heard():
    async def scenario():
        async with running("a", "b") as mesh:
            first = mesh.first(TOPIC)
            (second,) = [each for each in mesh.workers.values() if each is not first]
            for number in range(5):
                first.say(TOPIC, number)
            await mesh.confirmed()
            second.deaf = True
            first.say(TOPIC, 5)
            second.deaf = False
            records, history = second.recorder.records, mesh.kept.find(TOPIC).history
            records.begin(TOPIC, history, provable=False)  # wrongly: the first one lives
            await until(lambda: len(mesh.heard(TOPIC)) == 7 and not first.records(TOPIC))
            mesh.say(TOPIC, 6)
            await until(lambda: mesh.heard(TOPIC)[-1][2] == 6)
            assert [number for _, _, number in mesh.heard(TOPIC)] == [0, 1, 2, 3, 4, 5, 5, 6]

    run(scenario)
