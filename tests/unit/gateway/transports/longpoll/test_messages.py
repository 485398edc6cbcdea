"""gateway/transports/longpoll/messages.py: what stands in a POST."""

import tracemalloc
from base64 import b64encode
from types import SimpleNamespace

import pytest

from mesh.gateway.transports.longpoll.messages import MAX_LINES, messages_of
from mesh.telemetry import counters


def read(body, kind="application/x-ndjson"):
    return messages_of(SimpleNamespace(body=body, headers={"content-type": kind}))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n\r\n\n"])
def test_lines_are_messages_and_empty_ones_are_none(end):
    binary = b64encode(b"\x00\x01")
    assert read(end + b"[1]" + end + binary + end) == [(b"[1]", False), (b"\x00\x01", True)]
    assert read(b"[1]" + end + b"[2]") == [(b"[1]", False), (b"[2]", False)]


@pytest.mark.parametrize("body", [b"", b"\n", b"\r\n\r\n", b"\r"])
def test_a_body_without_lines_has_no_messages(body):
    assert read(body) == []


def test_what_is_no_base64_is_no_message():
    assert read(b"{}\n\xff\n") == [(b"", True), (b"", True)]


def test_another_kind_is_one_message():
    assert read(b"[1]\n[2]", "application/json") == [(b"[1]\n[2]", False)]
    assert read(b"[1]\n[2]", "Application/X-NDJSON; charset=utf-8") == [(b"[1]", False), (b"[2]", False)]


@pytest.mark.parametrize("more", [0, 1, 5])
def test_lines_over_the_limit_are_counted(more):
    before = counters.value("longpoll_lines_dropped")
    assert len(read(b"\n".join([b"[1]"] * (MAX_LINES + more)) + b"\r\n")) == MAX_LINES
    assert counters.value("longpoll_lines_dropped") - before == more


@pytest.mark.parametrize("line", [b"ab\n", b"\n", b"\r\n", b"\r", b"[1]\r\n"])
def test_a_body_of_very_many_lines_costs_no_more_memory_than_itself(line):
    body = line * (1_000_000 // len(line))
    tracemalloc.start()
    try:
        read(body)
        assert tracemalloc.get_traced_memory()[1] < 3 * len(body)
    finally:
        tracemalloc.stop()
