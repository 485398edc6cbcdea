"""The routes of the HTTP API: publishing (publish.py) and histories (history.py)."""

from typing import Any

from mesh.app.endpoint import Endpoint
from mesh.gateway.http import history, publish
from mesh.gateway.http.bodies import Bodies
from mesh.gateway.http.publish import PublishApi
from mesh.history.reader import HistoryReader


def routes(
    api: PublishApi | None, reader: HistoryReader, endpoint: Endpoint, bodies: Bodies
) -> list[tuple[Any, ...]]:
    """Return the API's routes, for Tornado's application; none if the API is disabled.

    Raises:
        ApplicationError: if the application has its own handler for one of these paths.
    """
    if api is None:
        return []
    return [*publish.routes(api, endpoint, bodies), *history.routes(api, reader, endpoint)]
