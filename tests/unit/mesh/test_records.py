"""mesh/telemetry/records.py: whatever is printed becomes one line, and one record."""

import json

import pytest

from mesh.telemetry import records

BREAKS = "\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\x00\x7f\x9b"
"""What str.splitlines, universal newlines or a terminal do more with than show it."""


@pytest.mark.parametrize("format", records.RECORD_FORMATS)
@pytest.mark.parametrize("character", BREAKS)
def test_a_printed_line_is_one_line_of_output(format, character):
    line = records.to_record(format, f"10%{character}20% done", "n")
    assert not set(line) & set(BREAKS)
    assert len(line.splitlines()) == 1
    if format == "json":
        assert json.loads(line)["event"] == f"10%{character}20% done"


def test_a_printed_record_is_one_line_too():
    printed = '{"event":\t"a\u2028b"}'
    line = records.to_record("json", printed, "n")
    assert json.loads(line) == {"node": "n", "event": "a\u2028b"}
    assert len(line.splitlines()) == 1
    assert records.to_record("logfmt", 'event="a\rb" node=x', "n") == r'event="a\rb" node=x'


@pytest.mark.parametrize("record", ['{"event": "a", "node": "x"}', '{"node":"x"}'])
def test_a_printed_record_with_a_node_is_kept_as_it_is(record):
    assert records.to_record("json", record, "n") == record
