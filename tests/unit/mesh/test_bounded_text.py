"""mesh/telemetry/bounded_text.py: what strangers name is cut in log lines and in errors."""

import logging

import pytest

from mesh import telemetry
from mesh.gateway.http.requests import RequestError, broadcast
from mesh.gateway.transports.admission import RefusedError
from mesh.gateway.transports.zeromq.messages import read_opening
from mesh.telemetry import counters, logs
from mesh.telemetry.bounded_text import (
    MAX_CHARACTERS,
    MAX_FIELD_CHARACTERS,
    shorten,
    shorten_fields,
    visible,
)
from mesh.telemetry.handlers import MAX_LIBRARY_CHARACTERS, filter_library_loggers

LONG = "e" * 900_000


def test_a_text_of_the_limit_is_whole_and_a_longer_one_says_how_long_it_was():
    assert shorten("x" * MAX_CHARACTERS) == "x" * MAX_CHARACTERS
    assert shorten(LONG) == "e" * MAX_CHARACTERS + "… (900000 characters)"
    assert shorten("abcdef", 3) == "abc… (6 characters)"


@pytest.mark.parametrize(
    "value",
    [
        LONG,
        LONG.encode(),
        [LONG] * 1_000,
        {LONG: LONG},
        {str(number): "x" * 100 for number in range(10_000)},
        [[[number]] for number in range(100_000)],
        {"a": {"b": [LONG, {LONG: 1}]}},
        list(range(1_000_000)),
        10**10_000,
        [10**10_000],
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_field_is_bounded(value):
    (shown,) = shorten_fields({"field": value}).values()
    assert len(repr(shown)) < 4 * MAX_FIELD_CHARACTERS


def test_nesting_is_bounded():
    value = []
    for _ in range(100_000):
        value = [value]
    assert len(repr(shorten_fields({"field": value}))) < 100


def test_short_fields_stay_as_they_are():
    error = ValueError("x")
    fields = {
        "topic": "room:1",
        "ref": 1,
        "socket_id": None,
        "params": {"a": [1, "b", None]},
        "exc_info": error,
    }
    assert shorten_fields(fields) == fields


def test_every_line_of_ours_is_bounded(log_lines):
    log = telemetry.get_logger("mesh.test")
    for write in (log.debug, log.info, log.warning, log.error):
        write("handled", topic=LONG, push=LONG, params={"text": [LONG] * 100})
    assert len(log_lines) == 4
    assert all(len(repr(line)) < 10_000 for line in log_lines)


def test_a_line_of_tornado_is_bounded():
    logger = logging.getLogger("tornado.general")
    before = logger.filters[:]
    try:
        filter_library_loggers(logs.ParameterFilter(), None)
        record = logger.makeRecord(
            "tornado.general", logging.WARNING, "", 0, "Malformed: %r", (LONG,), None
        )
        assert logger.filter(record)
        assert len(record.getMessage()) < MAX_LIBRARY_CHARACTERS + 50
    finally:
        logger.filters[:] = before


def test_an_error_does_not_repeat_what_it_is_about():
    with pytest.raises(RefusedError) as refused:
        read_opening(b'{"path":"/socket","' + LONG.encode() + b'":1}')
    assert len(str(refused.value)) < 2 * MAX_CHARACTERS
    with pytest.raises(RequestError) as answered:
        broadcast(b'{"' + LONG.encode() + b'":1}', 10)
    assert len(str(answered.value)) < 2 * MAX_CHARACTERS


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31m", "a\\x1b[31m"),
        ("a\x9b31m\x85", "a\\x9b31m\\x85"),
        ("a\rb\x00\x07\x7f", "a\\rb\\x00\\x07\\x7f"),
        ("\u2028\u2029\u202e\u2066", "\\u2028\\u2029\\u202e\\u2066"),
        ("Traceback:\n\tüñ 日本 \u00a0", "Traceback:\n\tüñ 日本 \u00a0"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert visible(text) == shown


def test_a_handler_of_the_application_that_raises_costs_its_line(monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(logs, "_sink", fail)
    monkeypatch.setattr(logs, "_gate", None)
    before = counters.value("log_lines_lost")
    logs.Logger("mesh.x").error("something")
    assert counters.value("log_lines_lost") == before + 1
