"""mesh/link/backoff.py: who is tried again, and when."""

from mesh.link.backoff import (
    FIRST_SECONDS,
    FLAPS,
    FORGET_SECONDS,
    MAX_BROKEN_SECONDS,
    MAX_PEERS,
    MAX_UNREACHABLE_SECONDS,
    SOUND_SECONDS,
    Backoff,
    End,
)


def waits(backoff, end, times, up=0.0, chance=1.0):
    """The waits after so many failures, and which of them were news."""
    found, news, now = [], [], 0.0
    for _ in range(times):
        news.append(backoff.failed("w", end, up, now, chance))
        found.append(backoff.waits("w", now))
        now += found[-1]
        assert backoff.waits("w", now) == 0.0
    return found, news


def test_each_failure_doubles_the_wait_up_to_a_bound_and_only_the_first_is_news():
    found, news = waits(Backoff(), End.PROTOCOL, 12)
    assert found[:4] == [FIRST_SECONDS * 2**power for power in range(4)]
    assert found[-1] == MAX_BROKEN_SECONDS
    assert news == [True] + 11 * [False]


def test_who_cannot_be_reached_is_tried_more_often():
    assert waits(Backoff(), End.CONNECTION, 12)[0][-1] == MAX_UNREACHABLE_SECONDS
    assert waits(Backoff(), End.CONNECTION, 12, up=1.0)[0][-1] == MAX_BROKEN_SECONDS
    assert waits(Backoff(), End.SILENCE, 2_000)[0][-1] == MAX_BROKEN_SECONDS


def test_chance_takes_half_of_the_wait_at_the_most():
    assert waits(Backoff(), End.PROTOCOL, 1, chance=0.0)[0] == [FIRST_SECONDS / 2]


def test_a_link_that_lasts_makes_its_failures_forgotten_which_is_news_if_there_were_several():
    backoff = Backoff()
    waits(backoff, End.PROTOCOL, 5)
    assert not backoff.sound("w", SOUND_SECONDS - 1)
    assert backoff.sound("w", SOUND_SECONDS)
    assert not backoff.sound("w", SOUND_SECONDS)
    assert not backoff.avoids("w")
    assert not backoff
    assert backoff.failed("w", End.CONNECTION, SOUND_SECONDS, 0.0, 1.0)
    assert not backoff.sound("w", SOUND_SECONDS), "one end is nothing special"
    waits(backoff, End.PROTOCOL, 5)
    assert backoff.failed("w", End.PROTOCOL, SOUND_SECONDS, 0.0, 1.0), "a new state"
    assert backoff.waits("w", 0.0) == FIRST_SECONDS


def test_who_breaks_the_protocol_or_whose_link_flaps_is_avoided_and_who_cannot_be_reached_is_not():
    for end, up, times, avoided in (
        (End.PROTOCOL, 1.0, 1, True),
        (End.CONNECTION, 1.0, FLAPS - 1, False),
        (End.CONNECTION, 1.0, FLAPS, True),
        (End.CONNECTION, 0.0, 20, False),
    ):
        backoff = Backoff()
        waits(backoff, end, times, up)
        assert backoff.avoids("w") is avoided


def test_what_is_remembered_is_bounded():
    backoff = Backoff()
    for number in range(MAX_PEERS + 10):
        backoff.failed(str(number), End.PROTOCOL, 0.0, 0.0, 1.0)
    assert sum(backoff.avoids(str(number)) for number in range(MAX_PEERS + 10)) == MAX_PEERS
    assert backoff.waits("0", 0.0) == 0.0
    assert backoff.waits(str(MAX_PEERS), 0.0) > 0.0


def test_who_has_not_come_back_for_long_is_forgotten_with_the_next_failure():
    backoff, names = Backoff(), ("old", "young", "new")
    backoff.failed("old", End.CONNECTION, 1.0, 0.0, 1.0)
    backoff.failed("young", End.CONNECTION, 1.0, FORGET_SECONDS, 1.0)
    assert [name for name in names if backoff.waits(name, 0.0)] == ["old", "young"]
    backoff.failed("new", End.CONNECTION, 1.0, FORGET_SECONDS + 1.0, 1.0)
    assert [name for name in names if backoff.waits(name, 0.0)] == ["young", "new"]
