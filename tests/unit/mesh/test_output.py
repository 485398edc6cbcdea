"""mesh/telemetry/output.py: whoever prints neither waits nor gets an error, and what is lost is told."""

import errno
import os
import re
import subprocess
import sys

import pytest

from mesh.telemetry import counters, output
from mesh.telemetry.output import Writer
from tests.support.until import until_sync


@pytest.fixture
def pipe():
    """(the end to read, a writer to the other)."""
    reader, writing = os.pipe()
    os.set_blocking(reader, False)
    yield reader, Writer(writing, max_lines=100, max_bytes=200_000)
    for descriptor in (reader, writing):
        try:
            os.close(descriptor)
        except OSError:
            pass


def collect(reader, whole):
    """What comes out of a pipe until `whole` says that it is enough."""
    seen = bytearray()

    def enough():
        try:
            seen.extend(os.read(reader, 65_536))
        except BlockingIOError:
            pass
        return whole(bytes(seen))

    until_sync(enough)
    return bytes(seen).splitlines()


def test_lines_come_in_order(pipe):
    reader, writer = pipe
    for number in range(50):
        writer.write(b"line %d\n" % number)
    assert writer.flush(30)
    assert collect(reader, lambda seen: b"line 49\n" in seen) == [
        b"line %d" % number for number in range(50)
    ]


def test_a_pipe_that_nobody_reads_makes_nobody_wait_and_the_loss_is_told(pipe):
    reader, writer = pipe
    before = counters.value("log_lines_lost")
    line = b"x" * 1_000 + b"\n"
    for _ in range(1_000):  # a megabyte: more than the pipe and the queue take
        writer.write(line)
    assert not writer.flush(0.01)
    lost = writer.lost
    assert 0 < lost < 1_000
    assert counters.value("log_lines_lost") - before == lost

    def told(seen):
        return sum(map(int, re.findall(rb"(\d+) log lines were lost\n", seen)))

    lines = collect(reader, lambda seen: told(seen) == lost and seen.count(line) == 1_000 - lost)
    assert lines.count(line.strip()) == 1_000 - lost


def test_what_cannot_be_written_is_lost_and_told_when_the_output_works_again(pipe, monkeypatch):
    reader, writer = pipe
    write, full = os.write, True

    def disk(descriptor, data):
        if full and descriptor == writer.descriptor:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", disk)
    for _ in range(7):
        writer.write(b"lost\n")
    until_sync(lambda: writer.lost == 7)
    full = False
    # Also if nothing more is printed.
    assert collect(reader, lambda seen: seen.endswith(b"\n")) == [b"7 log lines were lost"]
    writer.write(b"works\n")
    assert collect(reader, lambda seen: seen.endswith(b"\n")) == [b"works"]


def test_half_a_line_is_ended_before_the_loss_is_told(pipe, monkeypatch):
    reader, writer = pipe
    write, room = os.write, [3]

    def disk(descriptor, data):
        if descriptor != writer.descriptor or room[0] is None:
            return write(descriptor, data)
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(os, "write", disk)
    writer.write(b"a long line\n")
    until_sync(lambda: writer.lost == 1)
    room[0] = None
    assert collect(reader, lambda seen: b"lost\n" in seen) == [b"a l", b"1 log lines were lost"]


def test_a_reader_that_has_gone_costs_lines_only(pipe):
    reader, writer = pipe
    os.close(reader)
    writer.write(b"one\ntwo\n")
    until_sync(lambda: writer.lost == 2)


def test_a_descriptor_that_does_not_block_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(writer.descriptor, False)
    for _ in range(90):
        writer.write(b"y" * 2_000 + b"\n")
    lines = collect(reader, lambda seen: seen.count(b"\n") == 90)
    assert len(lines) == 90
    assert writer.lost == 0


def test_a_forked_child_prints_for_itself_and_nothing_twice(pipe):
    reader, writer = pipe
    writer.write(b"parent\n")
    pid = os.fork()
    if not pid:
        writer.write(b"child\n")
        os._exit(0)
    os.waitpid(pid, 0)
    assert writer.flush(30)
    lines = collect(reader, lambda seen: seen.count(b"\n") == 2)
    assert sorted(lines) == [b"child", b"parent"]


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


def test_whatever_is_printed_goes_through_the_queue_and_is_out_at_the_end():
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


def test_a_flush_is_bounded(pipe):
    _, writer = pipe
    writer.write(b"z" * 150_000)
    assert not writer.flush(0.01)
    assert output.standard(2) is output.standard(2)
