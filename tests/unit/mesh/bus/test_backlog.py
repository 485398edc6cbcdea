"""mesh/bus/publisher.py: what waits for a proxy, without one."""

import time

from mesh import settings
from mesh.bus.publisher import Publisher


def waiting(messages):
    publisher = Publisher(None, "n", settings.load().bus, [])
    for number in range(messages):
        publisher.publish_kind(1, "room:1", str(number))
        publisher.publish_kind(4, "$presence:x")  # has a number, and is not kept
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
