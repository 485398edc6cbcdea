"""mesh/bus/zeromq/resend_buffer.py: what to send again when a proxy is lost."""

from mesh.bus.zeromq import resend_buffer
from mesh.bus.zeromq.resend_buffer import NumberedMessage, ResendBuffer


def message(number, size=2):
    return NumberedMessage(number, "room:1", [b"room:1\x00", b"", b"x" * size], 0.0)


def numbers(messages):
    return [each.sequence for each in messages]


def test_what_is_not_confirmed_or_of_the_last_second_is_sent_again():
    sent = ResendBuffer()
    for number in (1, 2, 3):
        sent.add(message(number))
    sent.tick(10.0)
    sent.confirm_up_to(2)
    sent.add(message(4))
    sent.tick(10.5)
    sent.tick(10.9)
    assert len(sent) == 4  # all of the last second
    sent.tick(11.1)
    assert numbers(sent.take_all()) == [3, 4]
    assert sent.take_all() == []


def test_what_is_confirmed_and_old_is_forgotten():
    sent = ResendBuffer()
    sent.add(message(1))
    sent.confirm_up_to(sent.position)
    for seconds in (0.0, 0.5, 1.0):
        sent.tick(seconds)
    assert len(sent) == 0


def test_the_time_in_which_a_publisher_stood_still_does_not_count():
    sent = ResendBuffer()
    sent.add(message(1))
    sent.confirm_up_to(sent.position)
    sent.tick(0.0)
    sent.tick(60.0)  # the proxy may have gone meanwhile: nobody has read so yet
    assert numbers(sent.take_all()) == [1]


def test_a_message_sent_again_counts_by_when_it_was_sent_not_by_its_number():
    sent = ResendBuffer()
    sent.add(message(7))
    probed = sent.position
    sent.add(message(3))
    sent.confirm_up_to(probed)
    assert not sent.has_unconfirmed(7, 7)
    assert sent.has_unconfirmed(3, 3)
    assert sent.has_unconfirmed(1, 9)


def test_what_is_kept_is_bounded_by_count_and_bytes(monkeypatch):
    monkeypatch.setattr(resend_buffer, "MAX_KEPT_MESSAGES", 3)
    monkeypatch.setattr(resend_buffer, "MAX_KEPT_BYTES", 100)
    sent = ResendBuffer()
    for number in range(1, 6):
        sent.add(message(number))
    assert numbers(sent.take_all()) == [3, 4, 5]
    sent.add(message(6, size=60))
    sent.add(message(7, size=60))
    assert numbers(sent.take_all()) == [7]
