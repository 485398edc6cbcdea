"""mesh/telemetry/output.py: whoever prints neither waits nor gets an error, and what is lost is told."""

import errno
import os
import re

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


def test_a_pipe_that_nobody_reads_blocks_nobody_and_the_loss_is_reported(pipe):
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


def test_lines_that_cannot_be_written_are_reported_when_the_output_works_again(pipe, monkeypatch):
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


def test_a_partial_line_is_ended_before_the_loss_is_reported(pipe, monkeypatch):
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


def test_text_without_a_line_end_counts_when_it_is_lost(pipe):
    reader, writer = pipe
    os.close(reader)
    for lost in (1, 2, 3):  # after the first, the loss itself cannot be reported either
        writer.write(b"no line end")
        until_sync(lambda lost=lost: writer.lost == lost)


def test_without_a_reader_only_lines_are_lost(pipe):
    reader, writer = pipe
    os.close(reader)
    writer.write(b"one\ntwo\n")
    until_sync(lambda: writer.lost == 2)


def test_a_non_blocking_descriptor_is_waited_for(pipe):
    reader, writer = pipe
    os.set_blocking(writer.descriptor, False)
    for _ in range(90):
        writer.write(b"y" * 2_000 + b"\n")
    lines = collect(reader, lambda seen: seen.count(b"\n") == 90)
    assert len(lines) == 90
    assert writer.lost == 0


def test_a_forked_child_prints_its_own_lines_and_none_twice(pipe):
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


def test_a_flush_is_bounded(pipe):
    _, writer = pipe
    writer.write(b"z" * 150_000)
    assert not writer.flush(0.01)
    assert output.standard(2) is output.standard(2)
