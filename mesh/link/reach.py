"""Whether a gateway can reach the socket that a worker announces.

An `ipc://` address is a path on the worker's machine. On another machine the same path is another file or
none; on the same machine another user may not open it, and another container may not see it. A worker
therefore announces its machine as well, and a gateway looks before it connects.
"""

import errno
import functools
import os
import uuid
from hashlib import blake2b
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TCP = "set MESH_LINK__BIND=tcp://… on the worker (with keys, `mesh keys`, if it is on another machine)"


@functools.cache
def machine() -> str:
    """What tells this machine, until it starts again, from others; says nothing else about it."""
    try:
        known = _BOOT_ID.read_bytes()
    except OSError:  # not Linux
        known = uuid.getnode().to_bytes(8, "big")
    return blake2b(known, digest_size=8, person=b"mesh").hexdigest()


def why_unreachable(address: str, announced_machine: str | None) -> str | None:
    """Why the socket at `address` cannot be connected to from here, and the way out; None if it may be.

    Args:
        address: of a worker's link.
        announced_machine: the worker's; None if it does not say, as workers in other languages need not.
    """
    if not address.startswith("ipc://") or address.startswith("ipc://@"):
        return None
    if announced_machine not in (None, machine()):
        return f"{address} can be reached on the worker's own machine only, which is another one; {_TCP}"
    return _why_not_here(address, address.removeprefix("ipc://"))


def _why_not_here(address: str, path: str) -> str | None:
    try:
        os.stat(path)
        permitted = os.access(path, os.W_OK)
    except (OSError, ValueError) as error:  # ValueError: no path at all, e.g. with a NUL
        if getattr(error, "errno", None) not in (errno.EACCES, errno.EPERM):
            seen = "does not exist here: the worker has ended, or runs in another container"
            return f"{address} {seen}; there share its directory, or {_TCP}"
        permitted = False
    if permitted:
        return None
    return f"{address} belongs to another user of this machine; run both as the same user, or {_TCP}"
