"""What waits for a proxy, without one."""

import time

from mesh import settings
from mesh.bus.zeromq.backlog import Backlog
from mesh.bus.zeromq.publisher import Publisher
from mesh.bus.zeromq.resend_buffer import NumberedMessage
from mesh.telemetry import counters


def waiting(messages):
    publisher = Publisher(None, "n", settings.load().bus, [], None)
    for number in range(messages):
        publisher.publish(1, "room:1", str(number))
        publisher.publish(4, "$presence:x")  # has a number, and is not kept
    return publisher


def test_what_is_in_the_backlog_is_pending():
    publisher = waiting(5)
    assert [publisher.is_pending(number, number) for number in range(12)] == [
        False, True, False, True, False, True, False, True, False, True, False, False
    ]  # fmt: skip
    assert publisher.is_pending(2, 3)
    assert publisher.is_pending(0, 99)
    assert not publisher.is_pending(10, 99)
    assert not waiting(0).is_pending(0, 99)


def test_whoever_waits_for_one_message_does_not_look_at_all_the_others():
    publisher = waiting(5_000)
    began = time.process_time()
    assert all(publisher.is_pending(number, number) for number in range(1, 10_000, 2))
    assert time.process_time() - began < 2.0


def message(number, size=0):
    return NumberedMessage(number, "room:1", [b"room:1\x00", b"", b"x" * size], 0.0)


def test_the_bytes_that_wait_are_bounded_too():
    backlog = Backlog(max_messages=100, max_bytes=250)
    assert [backlog.add(message(number, 100)) for number in (1, 2, 3)] == [True, True, False]
    backlog.remove_first()
    assert backlog.add(message(4, 100))
    backlog.add_lost([message(1, 100)])
    assert [each.sequence for each in backlog.messages] == [1, 2, 4]
    assert not backlog.add(message(5))


def test_large_broadcasts_that_find_no_room_are_counted():
    before = counters.value("bus_backlog_dropped")
    publisher = Publisher(None, "n", settings.load().bus, [], None)
    for _ in range(66):
        publisher.publish(1, "room:1", "e", data=bytes(1_000_000))
    assert (publisher.backlog, publisher.dropped) == (64, 2)
    assert counters.value("bus_backlog_dropped") == before + 2
