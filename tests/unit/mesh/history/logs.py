"""What the tests of logs share: entries, and what must hold for every log at any time."""

from mesh.history.contract import Entry
from mesh.history.log import ENTRY_BYTES, LOG_BYTES
from mesh.history.seen import NUMBER_BYTES, ORIGIN_BYTES
from mesh.protocol.messages import JSON

NOW = 1_000.0


def entry(offset, data=b"x", origin="n", sequence=None, at=NOW):
    return Entry(offset, "e", JSON, data, origin, sequence or offset, at)


def offsets(entries):
    return [each.offset for each in entries]


def check(log):
    """Verify what holds for every log, whatever was done with it."""
    entries = list(log.entries)
    assert offsets(entries) == list(range(log.first, log.offset + 1))
    assert log.bytes == sum(len(each.data) for each in entries)
    waiting = list(log._ahead.values())
    assert log.memory == (
        LOG_BYTES
        + sum(len(each.data) + len(each.event) + ENTRY_BYTES for each in [*entries, *waiting])
        + sum(ORIGIN_BYTES + NUMBER_BYTES * len(each) for each in log.snapshot().seen.values())
    )
    assert all(each.offset > log.offset + 1 for each in waiting)
    assert not (waiting and log.complete)
