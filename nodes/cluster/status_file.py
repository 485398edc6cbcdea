"""The status file of a cluster: the pids and URLs of its nodes, as JSON."""

import json
import os
from pathlib import Path
from typing import Any

from mesh.errors import NodeError
from mesh.telemetry import get_logger

log = get_logger(__name__)

WRONG_PATH = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


class StatusFile:
    """A file that is replaced by every `write`.

    It only reports: if it cannot be written, e.g. because the disk is full, this is logged once, and the
    next change is tried again. What a reader finds is always complete.

    Args:
        path: the path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._problem = ""

    def write_first(self, status: dict[str, Any]) -> None:
        """Write it before anything runs; a file of an earlier cluster does not remain.

        Raises:
            NodeError: if no file can be at this path, or this process may not write it.
        """
        try:
            self._replace(status)
        except WRONG_PATH as error:
            raise NodeError(f"cannot write {self._path}: {error.strerror or error}") from None
        except OSError as error:
            self._failed(error)
            _remove(self._path)

    def write(self, status: dict[str, Any]) -> None:
        """Write it after a change."""
        try:
            self._replace(status)
        except OSError as error:
            self._failed(error)
            return
        if self._problem:
            self._problem = ""
            log.info("status file written again", path=str(self._path))

    def _replace(self, status: dict[str, Any]) -> None:
        try:
            self._partial.write_text(json.dumps(status))
            os.replace(self._partial, self._path)
        except OSError:
            _remove(self._partial)
            raise

    def _failed(self, error: OSError) -> None:
        problem = error.strerror or str(error)
        if problem != self._problem:
            self._problem = problem
            log.warning("status file not written", path=str(self._path), reason=problem)


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        pass  # it does not exist, or the file system is gone too
