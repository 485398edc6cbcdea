"""Writes what a process prints in a thread of its own, so that printing neither blocks nor fails.

The queue is bounded in lines and bytes. Lines that do not fit, because nobody reads the pipe, and lines
that cannot be written, because the disk is full or the reader has closed, are lost and counted. One line
reports their number as soon as writing works again. A process that exits flushes for up to a second; one
that is killed loses its queue.
"""

import atexit
import os
import queue
import select
import signal
import threading
import time
from collections.abc import Callable

from mesh.telemetry.counters import counters

MAX_LINES = 10_000
MAX_BYTES = 4_000_000
BATCH_BYTES = 65_536
RETRY_SECONDS = 1.0
EXIT_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def lost_lines_notice(lines: int) -> bytes:
    """Return the line that reports lost lines; see `Writer.notice`."""
    return b"%d log lines were lost\n" % lines


class Writer:
    """Writes to one file descriptor.

    Args:
        descriptor: the file descriptor.
        max_lines: the most lines that may wait; further lines are lost.
        max_bytes: the most bytes that may wait; further lines are lost.

    Attributes:
        notice: creates the line that reports how many lines were lost.
        lost: the number of lines lost since the start.
    """

    def __init__(self, descriptor: int, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES) -> None:
        self.notice: Callable[[int], bytes] = lost_lines_notice
        self.lost = 0
        self.descriptor = descriptor
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self._ends_mid_line = False
        self._reset()
        _writers.append(self)

    def _reset(self) -> None:
        # Reentrant: a signal handler may print while it interrupts a thread that prints.
        self._lock = threading.RLock()
        self._queue: queue.SimpleQueue[bytes | threading.Event] = queue.SimpleQueue()
        self._waiting_lines = 0
        self._waiting_bytes = 0
        self._unreported = 0
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def write(self, data: bytes) -> None:
        """Queue text of one or more lines."""
        lines = max(data.count(b"\n"), 1)
        if self._pid != os.getpid():  # forked: this process is not a node and has no writer thread
            self._write_all(data)
            return
        with self._lock:
            fits = (
                self._waiting_lines + lines <= self._max_lines
                and self._waiting_bytes + len(data) <= self._max_bytes
            )
            if not fits or not self._ensure_thread():
                self._count_lost(lines)
                return
            self._waiting_lines += lines
            self._waiting_bytes += len(data)
            self._queue.put(data)

    def flush(self, seconds: float) -> bool:
        """Wait until everything is written, for at most `seconds`; return whether it is."""
        if self._thread is None or self._pid != os.getpid():
            return True
        written = threading.Event()
        self._queue.put(written)
        return written.wait(seconds)

    def _ensure_thread(self) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="output", daemon=True)
            try:
                self._thread.start()
            except RuntimeError:  # no more threads
                self._thread = None
        return self._thread is not None

    def _count_lost(self, lines: int) -> None:
        with self._lock:
            self.lost += lines
            self._unreported += lines
            counters.count("log_lines_lost", lines)

    # In the writer thread

    def _run(self) -> None:
        block_signals()
        while True:
            batch, flushed = self._take()
            if self._report_lost():
                self._write_batch(batch)
            elif batch:
                self._count_lost(max(batch.count(b"\n"), 1))
            for each in flushed:
                each.set()

    def _take(self) -> tuple[bytes, list[threading.Event]]:
        """Return what waits, up to a limit; nothing if only a loss is to be reported."""
        parts: list[bytes] = []
        flushed: list[threading.Event] = []
        size = 0
        try:
            item = self._queue.get(timeout=RETRY_SECONDS if self._unreported else None)
            while True:
                if isinstance(item, threading.Event):
                    flushed.append(item)
                else:
                    parts.append(item)
                    size += len(item)
                if size >= BATCH_BYTES:
                    break
                item = self._queue.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            if self._queue.empty():
                self._waiting_lines = self._waiting_bytes = 0
            else:
                self._waiting_lines -= sum(max(part.count(b"\n"), 1) for part in parts)
                self._waiting_bytes -= size
        return b"".join(parts), flushed

    def _report_lost(self) -> bool:
        """Report lost lines, if any; return False if that cannot be written either."""
        with self._lock:
            unreported, self._unreported = self._unreported, 0
        if not unreported:
            return True
        text = self.notice(unreported)
        if self._write_all(b"\n" + text if self._ends_mid_line else text) == 0:
            return True
        with self._lock:
            self._unreported += unreported
        return False

    def _write_batch(self, batch: bytes) -> None:
        unwritten = self._write_all(batch) if batch else 0
        if unwritten:
            self._count_lost(max(batch[-unwritten:].count(b"\n"), 1))

    def _write_all(self, data: bytes) -> int:
        """Write, waiting if necessary; return how many bytes could not be written."""
        view = memoryview(data)
        while view:
            try:
                written = os.write(self.descriptor, view)
            except BlockingIOError:  # a process that shares the descriptor made it non-blocking
                wait_writable(self.descriptor)
                continue
            except OSError:
                return len(view)
            self._ends_mid_line = bytes(view[written - 1 : written]) != b"\n"
            view = view[written:]
        return 0


def block_signals() -> None:
    """Block signals in this thread: they are handled in the main thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def wait_writable(descriptor: int) -> None:
    """Wait until a non-blocking descriptor may take more, for a second at most."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if any(event & (select.POLLERR | select.POLLNVAL) for _, event in poll.poll(1_000)):
        time.sleep(0.01)


_writers: list[Writer] = []
_standard: dict[int, Writer] = {}
before_exit: list[Callable[[], None]] = []
"""Called before a flush."""


def standard(descriptor: int) -> Writer:
    """Return the process's writer to stdout (1) or stderr (2)."""
    writer = _standard.get(descriptor)
    if writer is None:
        writer = _standard[descriptor] = Writer(descriptor)
    return writer


def flush(seconds: float = EXIT_SECONDS) -> None:
    """Write everything that is queued, for at most `seconds`."""
    for prepare in before_exit:
        prepare()
    end = time.monotonic() + seconds
    for writer in list(_standard.values()):
        writer.flush(max(end - time.monotonic(), 0))


def _forked() -> None:
    """After a fork: the parent writes what is queued, and the writer thread does not exist here."""
    for writer in _writers:
        pid = writer._pid
        writer._reset()
        writer._pid = pid


atexit.register(flush)
os.register_at_fork(after_in_child=_forked)
