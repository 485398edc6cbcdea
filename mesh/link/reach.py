"""Determines whether a gateway can reach the socket that a worker announces.

An `ipc://` address is a path on the worker's machine. On another machine the path does not exist or refers
to another file; on the same machine another user may not be allowed to open it, and another container may
not see it. Therefore a worker also announces its machine, and a gateway checks the address before it
connects.
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
    """Return an id of this machine, valid until it is restarted, that reveals nothing else about it."""
    try:
        known = _BOOT_ID.read_bytes()
    except OSError:  # not Linux
        known = uuid.getnode().to_bytes(8, "big")
    return blake2b(known, digest_size=8, person=b"mesh").hexdigest()


def why_unreachable(address: str, announced_machine: str | None) -> str | None:
    """Return why `address` cannot be connected to from here, and what to do; None if it can.

    Args:
        address: the address of a worker's link.
        announced_machine: the worker's machine; None if not announced, as by workers in other languages.
    """
    if not address.startswith("ipc://") or address.startswith("ipc://@"):
        return None
    if announced_machine not in (None, machine()):
        return f"{address} can be reached only on the worker's machine, which is not this one; {_TCP}"
    return _why_not_here(address, address.removeprefix("ipc://"))


def _why_not_here(address: str, path: str) -> str | None:
    try:
        os.stat(path)
        permitted = os.access(path, os.W_OK)
    except (OSError, ValueError) as error:  # ValueError: not a path, e.g. with a NUL
        if getattr(error, "errno", None) not in (errno.EACCES, errno.EPERM):
            seen = "does not exist here: the worker has ended, or runs in another container"
            return f"{address} {seen}; in that case share its directory, or {_TCP}"
        permitted = False
    if permitted:
        return None
    return f"{address} belongs to another user of this machine; run both as the same user, or {_TCP}"
