"""Seeds the C library's `rand`, from which libzmq makes the routing ids of peers that bring none.

A ROUTER numbers such peers from a start value that it takes from `rand` when it is made. Unseeded, that
value is the same in every process, and a peer that claims the next number as its own routing id ends the
process: an assertion in libzmq 4.3.5 (src/socket_base.cpp, `add_out_pipe`) fails. Every context of ours is
made behind a call of `seed`; libzmq itself never calls `srand`.
"""

import ctypes
import os

SEED_BYTES = 4
"""What `srand` takes: an unsigned int."""
ROUTING_ID_BYTES = 16


def seed() -> None:
    """Seed `rand` of the C library that libzmq uses: that of this process."""
    libc = ctypes.CDLL(None)
    libc.srand(ctypes.c_uint(int.from_bytes(os.urandom(SEED_BYTES), "little")))


def routing_id() -> bytes:
    """A routing id that nobody can guess. It does not begin with a zero byte, as libzmq's own do."""
    return b"m" + os.urandom(ROUTING_ID_BYTES)
