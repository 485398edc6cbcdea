"""Handles SIGINT, SIGTERM and SIGHUP, from before the application is imported until the process ends.

The first signal asks the process to stop: by an exception while it is starting, later by the function given
to `on_stop`. The second SIGINT or SIGTERM ends it at once, whatever it is doing: the kernel restores the
default action when it delivers the first one (SA_RESETHAND), so that even code that never returns to Python
cannot keep it alive.

A child of `mesh cluster` or `--reload` is ended by its parent, which receives the second signal: a service
manager that signals all processes of a service must not end children that are draining.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

SUPERVISED = "MESH_SUPERVISED"
"""The environment variable of a process that is ended by its parent: the parent's process id."""

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1


class StoppedError(BaseException):
    """A signal came before the node was up. Nothing but `main` catches it.

    Attributes:
        exit_code: the exit code of the process.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class Signals:
    """The handling of this process's signals.

    Attributes:
        received: the signal that asked the process to stop, if any.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._on_stop: Callable[[], None] | None = None
        self._on_second: Callable[[], None] | None = None
        self._installed = False
        self._supervised = False

    def install(self) -> None:
        """Start handling SIGINT, SIGTERM, and SIGHUP unless it is ignored (`nohup`)."""
        if self._installed:
            return
        self._installed = True
        self._supervised = os.environ.get(SUPERVISED) == str(os.getppid())
        if self._supervised:
            die_with_parent()
        for number in _STOP_SIGNALS:
            self._handle(number)
        if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, self._on_signal)

    def on_stop(self, stop: Callable[[], None], on_second: Callable[[], None] | None = None) -> None:
        """Call `stop` instead of raising, and `on_second` at the second signal; the third ends the process.

        Without `on_second`, the second signal ends it. Both functions are called between two instructions
        of the main thread, so they must only schedule work.
        """
        self._on_stop, self._on_second = stop, on_second
        if self.received is not None:
            stop()
            return
        for number in _STOP_SIGNALS:  # the application may have set handlers of its own
            if signal.getsignal(number) != self._on_signal:
                self._handle(number)

    def check(self) -> None:
        """Raise StoppedError if a signal has arrived; the application may have caught the first one."""
        if self.received is not None:
            raise StoppedError(self.received)

    def _handle(self, number: int) -> None:
        signal.signal(number, self._on_signal)
        if not self._supervised:
            _reset_when_delivered(number)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        first = self.received in (None, signal.SIGHUP)  # SIGTERM often follows when a terminal is closed
        if number in _STOP_SIGNALS and not self._supervised:
            self._rearm(first)
        if self.received is None:
            self.received = number
            if self._on_stop is None:
                raise StoppedError(number)
            self._on_stop()
        elif first and number in _STOP_SIGNALS:
            self.received = number
        elif number in _STOP_SIGNALS and self._on_second is not None:
            self._on_second()

    def _rearm(self, first: bool) -> None:
        """Let the next signal end the process, unless `on_second` is to be called at the second one."""
        for each in _STOP_SIGNALS:
            if first and self._on_second is not None:
                self._handle(each)
            else:
                signal.signal(each, signal.SIG_DFL)


signals = Signals()
"""The handling of this process's signals."""


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends, however it ends (Linux prctl(2))."""
    if sys.platform == "linux":
        _C.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _reset_when_delivered(number: int) -> None:
    """Have the kernel restore the default action when it delivers the signal; without glibc Python does."""
    if _LIBC is None:
        return
    handler = _LIBC.signal(number, None)  # sets SIG_DFL and returns Python's handler
    _LIBC.sysv_signal(number, handler)


def _libc() -> ctypes.CDLL | None:
    if not hasattr(_C, "sysv_signal"):
        return None
    for function in (_C.signal, _C.sysv_signal):
        function.argtypes = (ctypes.c_int, ctypes.c_void_p)
        function.restype = ctypes.c_void_p
    return _C


_C = ctypes.CDLL(None)
_LIBC = _libc()
