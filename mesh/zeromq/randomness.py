"""Seeds the C library's `rand`, from which libzmq generates the routing ids of peers that send none.

A ROUTER numbers such peers from a start value that it takes from `rand` when it is created. Without a seed
this value is the same in every process, and a peer that claims the next number as its own routing id
aborts the process: an assertion in libzmq 4.3.5 fails (src/socket_base.cpp, `add_out_pipe`). `seed` is
called before each of our contexts is created; libzmq itself never calls `srand`.
"""

import ctypes
import os

SEED_BYTES = 4
"""The type of `srand`'s argument: an unsigned int."""
ROUTING_ID_BYTES = 16


def seed() -> None:
    """Seed `rand` of the C library that libzmq uses, which is that of this process."""
    libc = ctypes.CDLL(None)
    libc.srand(ctypes.c_uint(int.from_bytes(os.urandom(SEED_BYTES), "little")))


def routing_id() -> bytes:
    """Return an unpredictable routing id. Unlike libzmq's own, it does not begin with a zero byte."""
    return b"m" + os.urandom(ROUTING_ID_BYTES)
