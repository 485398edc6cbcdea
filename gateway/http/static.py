"""Static files. What must not be served is answered 404, which does not reveal whether it exists."""

import os
from typing import Any

from tornado.web import HTTPError, StaticFileHandler

from mesh.gateway.http.paths import normalize, relative_file


class StaticHandler(StaticFileHandler):
    """Serves files below one directory, except names with a leading dot and links that lead outside it."""

    BODIES = ()

    def initialize(self, path: str, **given: Any) -> None:  # type: ignore[override]
        """Called by Tornado with the arguments of the route."""
        self._well_known = given.pop("well_known", False)
        super().initialize(path, **given)

    async def get(self, path: str, include_body: bool = True) -> None:
        """Answer with the file; `path` still has its escapes."""
        # Tornado makes the redirect to a directory's index from it.
        self.request.path = normalize(self.request.path) + "/" * self.request.path.endswith("/")
        name = relative_file(path or "", self._well_known)
        if name is None:
            raise HTTPError(404)
        try:
            await super().get(name, include_body)
        except HTTPError as error:  # 403: outside the directory, or not a file
            raise HTTPError(404 if error.status_code == 403 else error.status_code) from None
        except (OSError, ValueError):  # unreadable, or removed in the meantime
            raise HTTPError(404) from None

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """As Tornado's, with 404 for a file that is unreadable or outside the directory."""
        valid = super().validate_absolute_path(root, absolute_path)
        if valid is None:
            return None
        directory = os.path.realpath(root)
        if os.path.commonpath((directory, os.path.realpath(valid))) != directory or not os.access(
            valid, os.R_OK
        ):
            raise HTTPError(404)
        return valid
