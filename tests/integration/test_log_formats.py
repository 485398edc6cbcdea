"""What each log format writes, in a process of its own."""

import json
import subprocess
import sys

import pytest

LOG = """
import logging
from mesh.telemetry import get_logger
from mesh.telemetry.configuration import configure_logging
configure_logging("info", FORMAT, "gateway")
get_logger("x").debug("not shown")
get_logger("x").info("slow client closed", socket_id="users:7")
logging.getLogger("other").warning("from a library")
try:
    1 / 0
except ZeroDivisionError as error:
    get_logger("x").error("crashed", exc_info=error)
"""


@pytest.mark.parametrize("format", ["console", "json", "logfmt"])
def test_lines_carry_node_level_event_and_fields(format):
    code = LOG.replace("FORMAT", repr(format))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    for word in ("slow client closed", "users:7", "from a library", "gateway", "ZeroDivisionError"):
        assert word in done.stderr
    assert "not shown" not in done.stderr
    if format == "json":
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        assert lines[0]["event"] == "slow client closed"
        assert len(lines) == 3
