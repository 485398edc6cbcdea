"""What strangers choose is cut in every line of ours, whoever's handler writes it and in whichever format."""

import subprocess
import sys

import pytest

from mesh.telemetry.bounded_text import MAX_FIELD_CHARACTERS

LINES = """
import logging
import structlog
from mesh.telemetry import get_logger, log_to_logging
from mesh.telemetry.configuration import configure_logging

START

class Strange:
    def __repr__(self):
        return "r" * 900_000

class Broken:
    def __repr__(self):
        raise RuntimeError("no repr")

LONG = "e" * 900_000
FIELDS = [
    LONG, LONG.encode(), bytearray(LONG.encode()), memoryview(LONG.encode()), [LONG] * 1_000, (LONG,) * 1_000,
    {LONG: LONG}, {LONG}, frozenset([LONG]), Strange(), [Strange()] * 10, Broken(), 10**4_000,
    {"params": [10**4_000] * 1_000}, ValueError(LONG), [[[LONG]]],
]
log = get_logger("mesh.test")
for number, field in enumerate(FIELDS):
    log.warning("strange field", number=number, field=field)
log.info("ordinary", topic="room:1", ref=7, ratio=0.5, socket_id=None, last=2**64)
structlog.contextvars.bind_contextvars(user=LONG, event="bound", many={LONG: [LONG] * 100}, huge=10**4_000)
log.error("within a context", topic="room:2")
"""
OWN = "configure_logging('info', '{}', 'gateway', lines_per_second=0)"
APPLICATION = f"logging.basicConfig(level='INFO', format='app: %(message)s'); {OWN}"
STARTS = {
    "console": OWN.format("console"),
    "json": OWN.format("json"),
    "logfmt": OWN.format("logfmt"),
    "the application's handlers": APPLICATION.format("json"),
    "log.configure = false": (
        "logging.basicConfig(level='INFO')\n"
        "configure_logging('info', 'json', 'gateway', lines_per_second=0, configure=False)"
    ),
}


@pytest.mark.parametrize("way", STARTS)
def test_every_line_is_bounded_in_every_format(way):
    code = LINES.replace("START", STARTS[way])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    lines = [line for line in done.stderr.splitlines() if line]
    assert len([line for line in lines if "strange field" in line]) == 16
    assert max(map(len, lines)) < 4 * MAX_FIELD_CHARACTERS
    (ordinary,) = [line for line in lines if "ordinary" in line]
    for shown in ("room:1", "7", "0.5", str(2**64)):
        assert shown in ordinary
    assert "Strange" not in done.stderr
    (within,) = [line for line in lines if "within a context" in line]
    assert "room:2" in within
    assert "900000 characters" in within


def test_every_line_of_a_program_that_is_no_node_is_bounded():
    code = LINES.replace(
        "START", "logging.basicConfig(level='INFO', format='%(message)s')\nlog_to_logging()"
    )
    code = code.partition("structlog.contextvars.bind")[0]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    lines = done.stderr.splitlines()
    assert len(lines) == 17
    assert max(map(len, lines)) < 4 * MAX_FIELD_CHARACTERS
