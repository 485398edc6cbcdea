"""The HTTP API for the histories of topics: `GET` and `DELETE /api/history`, behind the keys of publish.py.

An answer is one page of a history, so that it is bounded: about 1 MB of payloads, or a single message.
"""

import re
from collections.abc import Awaitable
from typing import Any

from mesh.app.endpoint import Endpoint
from mesh.errors import ChannelError, HistoryUnavailableError
from mesh.gateway.http.api_handler import ApiHandler, check_free
from mesh.gateway.http.history_requests import encode_page, parse_query, parse_topic
from mesh.gateway.http.publish import PublishApi
from mesh.gateway.http.requests import RequestError
from mesh.history.reader import HistoryReader


class HistoryHandler(ApiHandler):
    """Handles one request for the history of a topic."""

    METHODS = ("GET", "DELETE")
    BODIES = ()

    def initialize(self, api: PublishApi, reader: HistoryReader) -> None:
        """Called by Tornado with the arguments of the route."""
        self._api = api
        self._reader = reader

    def prepare(self) -> None:
        """Check the key."""
        known = self._api.key_of(self.request.headers.get("Authorization", ""))
        if self.request.method in self.METHODS and known is None:
            self.refuse_key()

    async def get(self) -> None:
        """Answer with a page of the history."""
        await self._answer(self._page())

    async def delete(self) -> None:
        """Remove the history of the topic."""
        await self._answer(self._forget())

    async def _answer(self, work: Awaitable[bytes]) -> None:
        try:
            self.answer(200, await work)
        except RequestError as problem:
            self.refuse(problem)
        except ChannelError as error:
            self.refuse(RequestError(404, str(error)))
        except HistoryUnavailableError as error:
            self.refuse(RequestError(503, str(error)))

    async def _page(self) -> bytes:
        query = parse_query(self.request.query)
        return encode_page(query.topic, await self._reader.read_page(query))

    async def _forget(self) -> bytes:
        await self._reader.forget(parse_topic(self.request.query))
        return b"{}"


def routes(api: PublishApi, reader: HistoryReader, endpoint: Endpoint) -> list[tuple[Any, ...]]:
    """Return the routes, for Tornado's application. Raises ApplicationError as `publish.routes`."""
    path = f"{api.settings.path}/history"
    check_free(path, endpoint)
    return [(re.escape(path), HistoryHandler, {"api": api, "reader": reader})]
