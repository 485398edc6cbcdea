"""Room for a process's descriptors, made before it has threads.

Linux doubles the table of descriptors whenever it is full, and in a process with threads (libzmq's) the
system call that needs the next one waits 5 to 30 ms each time, for an RCU grace period (fs/file.c,
expand_fdtable). A gateway met that at its 256th, 512th, ... connection, within `accept`.
"""

import contextlib
import fcntl
import os
import resource

MOST = 131_072
"""A table for so many takes 1 MB."""


def make_room() -> None:
    """For as many descriptors as this process may have, MOST at the most."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = MOST if limit == resource.RLIM_INFINITY else min(limit, MOST)
    descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # what there is grows as it is needed
            os.close(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, highest - 1))
    finally:
        os.close(descriptor)
