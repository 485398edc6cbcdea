"""Standard streams of processes that print through mesh/telemetry/streams.py."""

import os
import subprocess
import sys

import pytest

STREAMS = """
import os, sys, warnings
from mesh.telemetry import output, streams
streams.install()
print("printed")
print("no end", end="", flush=True)
sys.stdout.buffer.write(b" of it\\n")
print("error", file=sys.stderr)
warnings.warn("a warning")
assert (sys.stdout.fileno(), sys.stderr.fileno()) == (1, 2)
raise RuntimeError("the end")
"""


def test_everything_printed_is_written_before_the_process_ends():
    done = subprocess.run([sys.executable, "-c", STREAMS], capture_output=True, text=True, timeout=180)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["printed", "no end of it"]
    assert "error" in done.stderr
    assert "a warning" in done.stderr
    assert done.stderr.endswith("RuntimeError: the end\n")


BLOCKED = """
import sys
from mesh.telemetry import streams
streams.install()
for _ in range(3_000):
    print("x" * 100)
    print("y" * 100, file=sys.stderr, flush=True)
open(sys.argv[1], "w").write("through")
"""


@pytest.mark.parametrize("target", ["unread", "/dev/full"])
def test_a_program_whose_output_is_blocked_or_full_ends(tmp_path, target):
    reached = tmp_path / "reached"
    reader, writer = os.pipe()
    stream = writer if target == "unread" else os.open(target, os.O_WRONLY)
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED, str(reached)], stdout=stream, stderr=stream, timeout=60
    )
    for descriptor in {reader, writer, stream}:
        os.close(descriptor)
    assert done.returncode == 0
    assert reached.read_text() == "through"


def test_closed_standard_streams_do_not_become_sockets():
    code = (
        "import os, socket; from mesh.telemetry import streams; streams.install(); print('lost');"
        "s = socket.socket(); os._exit(0 if s.fileno() > 2 else 9)"
    )
    done = subprocess.run(["sh", "-c", f'exec "{sys.executable}" -c "{code}" <&- >&- 2>&-'], timeout=180)
    assert done.returncode == 0
