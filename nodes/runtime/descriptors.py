"""Enlarges a process's descriptor table before the process has threads.

Linux doubles the table whenever it is full. In a process with threads (libzmq's), the system call that
needs the next descriptor then waits 5 to 30 ms for an RCU grace period (fs/file.c, expand_fdtable). In a
gateway this happened in `accept`, at its 256th, 512th, ... connection.
"""

import contextlib
import fcntl
import os
import resource

MAX_DESCRIPTORS = 131_072
"""A table for this many descriptors takes 1 MB."""


def enlarge_table() -> None:
    """Enlarge the table for as many descriptors as this process may have, at most MAX_DESCRIPTORS."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = MAX_DESCRIPTORS if limit == resource.RLIM_INFINITY else min(limit, MAX_DESCRIPTORS)
    descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # the table then grows when it is full
            os.close(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, highest - 1))
    finally:
        os.close(descriptor)
