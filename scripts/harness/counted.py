"""A program that runs a module, the `mesh` command, and counts the bytecodes that its main thread executes.

SIGUSR1 starts counting, SIGUSR2 prints the count so far. It runs the code of the current directory.
"""

import os
import signal
import sys
from runpy import run_module
from types import FrameType
from typing import Any

count = 0


def trace_bytecodes(frame: FrameType, event: str, argument: Any) -> Any:
    """Count one bytecode of a traced function."""
    global count
    if event == "opcode":
        count += 1
    return trace_bytecodes


def trace_calls(frame: FrameType, event: str, argument: Any) -> Any:
    """Trace a function that is called."""
    frame.f_trace_opcodes = True
    frame.f_trace_lines = False
    return trace_bytecodes


def start(*_: object) -> None:
    """Start counting."""
    sys.settrace(trace_calls)
    show()


def show(*_: object) -> None:
    """Print the count with one system call, because the signal may arrive during a print."""
    os.write(1, f"bytecodes {count}\n".encode())


if __name__ == "__main__":
    sys.path[0] = os.getcwd()
    signal.signal(signal.SIGUSR1, start)
    signal.signal(signal.SIGUSR2, show)
    run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
