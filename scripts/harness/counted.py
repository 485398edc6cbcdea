"""Runs `mesh …` and counts the bytecodes that its main thread executes; a program of its own.

SIGUSR1 begins, SIGUSR2 prints the count so far. The code is that of the directory it is started in.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any

count = 0


def trace_bytecodes(frame: FrameType, event: str, argument: Any) -> Any:
    """One more, in a function that is traced."""
    global count
    if event == "opcode":
        count += 1
    return trace_bytecodes


def trace_calls(frame: FrameType, event: str, argument: Any) -> Any:
    """A function is called: count in it too."""
    frame.f_trace_opcodes = True
    frame.f_trace_lines = False
    return trace_bytecodes


def begin(*_: object) -> None:
    """Count from now on."""
    sys.settrace(trace_calls)
    show()


def show(*_: object) -> None:
    """Print the count: one system call, because a signal may come within a print."""
    os.write(1, f"bytecodes {count}\n".encode())


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, show)
    from nodes.cli import main

    main()
