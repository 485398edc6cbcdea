"""Hooks, filters, histograms."""

import pytest

from mesh import telemetry
from mesh.telemetry.counters import Histogram
from mesh.telemetry.filters import ParameterFilter


@pytest.fixture
def heard():
    seen = []

    def handler(event, measurements, metadata):
        seen.append((event, measurements, metadata))

    telemetry.attach("channel_joined", handler)
    yield seen
    telemetry.detach("channel_joined", handler)


def test_a_handler_hears_its_event_until_it_is_detached(heard):
    assert telemetry.attached("channel_joined")
    telemetry.emit("channel_joined", {"duration": 1}, {"topic": "t"})
    telemetry.emit("channel_ended", {}, {})
    assert heard == [("channel_joined", {"duration": 1}, {"topic": "t"})]


def test_nobody_is_attached_afterwards():
    assert not telemetry.attached("channel_joined")
    telemetry.detach("channel_joined", print)


def test_a_handler_that_raises_is_detached_and_the_others_go_on(heard):
    def broken(*_):
        raise RuntimeError("raised on request")

    telemetry.attach("channel_joined", broken)
    for _ in range(2):
        telemetry.emit("channel_joined", {}, {})
    assert len(heard) == 2
    telemetry.detach("channel_joined", broken)


def test_an_event_there_is_not_is_an_error():
    with pytest.raises(ValueError, match=r"no event 'joined'; want one of .*channel_joined"):
        telemetry.attach("joined", print)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"password": "x", "user": "ana"}, {"password": "[FILTERED]", "user": "ana"}),
        ({"a": [{"auth_token": 1}]}, {"a": [{"auth_token": "[FILTERED]"}]}),
        ({"Password": 1}, {"Password": "[FILTERED]"}),
        ({"uri": "/socket?token=abc"}, {"uri": "[FILTERED]"}),
        (b"\x00\x01", "2 bytes"),
        (7, 7),
        (None, None),
    ],
)
def test_what_is_secret_is_hidden(value, shown):
    assert ParameterFilter()(value) == shown


def test_only_what_is_kept_is_shown():
    keep = ParameterFilter(keep=["user", "room"])
    assert keep({"user": "ana", "room": {"user": 1, "x": 2}, "y": 3}) == {
        "user": "ana",
        "room": {"user": 1, "x": "[FILTERED]"},
        "y": "[FILTERED]",
    }


def test_a_histogram_counts_by_bucket():
    histogram = Histogram()
    for seconds in (0.0001, 0.0005, 0.003, 99):
        histogram.observe(seconds)
    assert histogram.buckets[0] == 2
    assert histogram.buckets[-1] == 1
    assert sum(histogram.buckets) == 4
    assert histogram.sum == pytest.approx(99.0036)
