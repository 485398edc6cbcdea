"""Static files. Whatever may not be served is answered 404, so that nobody learns what is there."""

import os
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from gateway.http.paths import file_of, normal


class StaticHandler(StaticFileHandler):
    """Files below one directory: no names that begin with a dot, nothing that links lead to outside."""

    BODIES = ()

    def initialize(self, path: str, **given: Any) -> None:  # type: ignore[override]
        """Called by Tornado with the arguments of the route."""
        self._well_known = given.pop("well_known", False)
        super().initialize(path, **given)

    async def get(self, path: str, include_body: bool = True) -> None:
        """The file; `path` is still escaped."""
        # Tornado makes the address of a directory's index from it.
        self.request.path = normal(self.request.path) + "/" * self.request.path.endswith("/")
        name = file_of(path or "", self._well_known)
        if name is None:
            raise HTTPError(404)
        try:
            await super().get(name, include_body)
        except HTTPError as error:  # 403: not in the directory, or no file
            raise HTTPError(404 if error.status_code == 403 else error.status_code) from None
        except (OSError, ValueError):  # not readable, or gone meanwhile
            raise HTTPError(404) from None

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """As Tornado's; a file that cannot be read, or lies outside of the directory, is not there."""
        valid = super().validate_absolute_path(root, absolute_path)
        if valid is None:
            return None
        directory = os.path.realpath(root)
        if os.path.commonpath((directory, os.path.realpath(valid))) != directory or not os.access(
            valid, os.R_OK
        ):
            raise HTTPError(404)
        return valid
