"""mesh/telemetry/limiter.py and similar.py: lines that clients cause are bounded in rate, and never none."""

import logging
import time
from types import SimpleNamespace

import pytest

from mesh import ConnectInfo, Mount, SocketHandler
from mesh.gateway.transports import admission
from mesh.telemetry import counters, logs
from mesh.telemetry.filters import ParameterFilter
from mesh.telemetry.limiter import MAX_KINDS, Limiter
from mesh.telemetry.similar import SimilarLines
from mesh.worker import channel_telemetry

JOINED = ("mesh.channel", "info", "joined")
CRASHED = ("mesh.channel", "error", "channel crashed")


class User(SocketHandler):
    log = "info"


def test_each_kind_has_its_own_lines_a_second():
    limiter = Limiter(3)
    assert [limiter.admit(JOINED, now) for now in (0, 0.1, 0.2, 0.3, 0.9)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert limiter.admit(CRASHED, 0.3)
    assert limiter.left_out() == [(JOINED, 2)]
    assert limiter.left_out() == []
    assert limiter.admit(JOINED, 1.0)


def test_one_a_second_is_written_however_much_room_it_takes():
    limiter = Limiter(3)
    assert limiter.admit(CRASHED, 0.0, 5)
    assert not limiter.admit(CRASHED, 0.5, 5)
    assert limiter.admit(CRASHED, 1.0, 5)


def test_a_full_kind_is_counted_before_its_fields_are_made():
    limiter = Limiter(1)
    assert not limiter.suppress(JOINED, 0.0)
    assert limiter.admit(JOINED, 0.0)
    assert limiter.suppress(JOINED, 0.1)
    assert limiter.left_out() == [(JOINED, 1)]
    assert not limiter.suppress(JOINED, 1.1)


def test_kinds_are_bounded():
    limiter = Limiter(1)
    for number in range(10 * MAX_KINDS):
        assert limiter.admit(("x", "info", str(number)), 0.0)
    assert len(limiter._kinds) <= MAX_KINDS


@pytest.fixture
def logged(monkeypatch):
    """Lines of our loggers, of which two of one kind a second are written."""
    lines = []

    def sink(name, level, event, fields):
        lines.append((name, level, event, fields))

    gate = SimilarLines(2, sink)
    for name, value in {
        "_min_level": 0,
        "_sink": sink,
        "_gate": gate,
        "_filter": ParameterFilter(),
    }.items():
        monkeypatch.setattr(logs, name, value)
    lines_and_gate = (lines, gate)
    yield lines_and_gate
    if gate._timer is not None:
        gate._timer.cancel()


def test_what_was_left_out_is_counted_and_said(logged, monkeypatch):
    lines, gate = logged
    monkeypatch.setattr(time, "monotonic", lambda: 1_000.0)
    before = counters.value("log_lines_left_out")
    log = logs.get_logger("gateway.handshake")
    for number in range(10):
        log.warning("connection refused", number=number)
    assert [fields["number"] for *_, fields in lines] == [0, 1]
    assert counters.value("log_lines_left_out") - before == 8
    gate.report_left_out()
    assert lines[2:] == [
        (
            "gateway.handshake",
            "warning",
            "similar lines left out",
            {"like": "connection refused", "lines": 8},
        )
    ]


def test_a_line_that_is_left_out_costs_next_to_nothing(logged):
    lines, _ = logged
    log = logs.get_logger("mesh.channel")
    began = time.process_time()
    for _ in range(100_000):
        if not log.suppress("info", "joined"):
            log.info("joined", topic="room:1")
    spent = time.process_time() - began
    assert spent < 3  # 20 times what it takes; a line each took 8
    assert len(lines) <= 2 * (spent + 60)


@pytest.mark.parametrize("cause", ["connections", "joins"])
def test_lines_that_clients_cause_create_no_fields_when_they_are_left_out(logged, monkeypatch, cause):
    lines, _ = logged
    filtered = []
    monkeypatch.setattr(logs, "_filter", filtered.append)
    for _ in range(10):
        if cause == "connections":
            admission.call_connect(Mount(User), ConnectInfo("websocket"), {"vsn": "2.0.0"})
        else:
            channel = SimpleNamespace(topic="room:1", socket=SimpleNamespace(id=None), log_join="info")
            channel_telemetry.joined(channel, time.perf_counter(), {}, "ok")
    assert len(lines) == len(filtered) == 2


def test_levels_that_are_not_logged_take_no_lines(logged, monkeypatch):
    lines, _ = logged
    monkeypatch.setattr(logs, "_min_level", logging.WARNING)
    for _ in range(10):
        logs.get_logger("x").info("quiet")
    logs.get_logger("x").warning("quiet")
    assert len(lines) == 1
