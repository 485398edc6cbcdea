"""A directory for sockets that no other user can access; removed when its process stops.

It is made in $XDG_RUNTIME_DIR if that is set and private to us, else in the directory for temporary files.
The process holds a lock on it (flock(2)), which ends with the process, however it ends. So the next start
recognizes and removes what killed processes have left behind, without relying on process ids.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mesh.addresses import MAX_IPC_PATH_BYTES
from mesh.errors import NodeError

PREFIX = "mesh-nodes-"
_NEW_PREFIX = ".mesh-new-"
RESERVED_BYTES = 18
"""The longest name of a socket in the directory, such as "/worker.12-1234" or "/proxy.12.sub"."""


class PrivateDirectory:
    """A private directory, mode 0700.

    Attributes:
        path: the directory's path.

    Raises:
        NodeError: if it cannot be made, or if its path would be too long for sockets.
    """

    def __init__(self) -> None:
        for parent in _parents():
            if _too_long(parent):
                continue
            _remove_leftovers(parent)
            try:
                self.path, self._lock = _make(parent)
            except OSError:
                continue
            return
        raise NodeError(_no_directory_message())

    def close(self) -> None:
        """Remove the directory and its contents."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        self.close()


def _parents() -> Iterator[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/") and _is_ours(Path(runtime)):
        yield Path(runtime)
    yield Path(tempfile.gettempdir())


def _is_ours(path: Path) -> bool:
    """Return whether it is a directory of this user, not a link, that no other user can access."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and stat.S_IMODE(found.st_mode) == 0o700
    )


def _too_long(parent: Path) -> bool:
    return len(os.fsencode(parent / f"{PREFIX}12345678")) + RESERVED_BYTES > MAX_IPC_PATH_BYTES


def _make(parent: Path) -> tuple[Path, int]:
    """Make a directory, and lock it before it has the name by which leftovers are found."""
    new = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=parent))  # mode 0700
    lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    path = parent / f"{PREFIX}{new.name.removeprefix(_NEW_PREFIX)}"
    try:
        new.rename(path)
    except OSError:
        os.close(lock)
        new.rmdir()
        raise
    return path, lock


def _remove_leftovers(parent: Path) -> None:
    for path in parent.glob(f"{PREFIX}*"):
        if _is_ours(path) and not _is_in_use(path):
            shutil.rmtree(path, ignore_errors=True)


def _is_in_use(path: Path) -> bool:
    try:
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return True  # another process is removing it or has replaced it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _no_directory_message() -> str:
    tried = ", ".join(f"{str(parent)!r}" for parent in _parents())
    longest = MAX_IPC_PATH_BYTES - RESERVED_BYTES - len(PREFIX) - 9
    return (
        f"no directory for sockets can be made in {tried}: want one that can be written to, with a path of"
        f" at most {longest} bytes (a socket's path has at most {MAX_IPC_PATH_BYTES}); set TMPDIR or"
        " XDG_RUNTIME_DIR, or for a worker MESH_LINK__BIND, e.g. ipc:///run/mesh/worker-1"
    )
