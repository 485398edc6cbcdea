"""Adds `Allow` to every 405 (RFC 9110 §15.5.6), including those of the application's own handlers."""

from typing import Any

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform, RequestHandler

from mesh.gateway.http.bodies import handles


def remember_handler(request: HTTPServerRequest, handler: type[RequestHandler]) -> None:
    """Note the handler of a request, for AllowHeader."""
    noted: Any = request
    noted.handler_class = handler


class AllowHeader(OutputTransform):
    """Adds `Allow` to a 405 that does not have it."""

    def __init__(self, request: HTTPServerRequest) -> None:
        super().__init__(request)
        self._handler: type[RequestHandler] = getattr(request, "handler_class", RequestHandler)

    def transform_first_chunk(
        self, status_code: int, headers: HTTPHeaders, chunk: bytes, finishing: bool
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Called by Tornado before the headers are sent."""
        if status_code == 405 and "Allow" not in headers:
            known = RequestHandler.SUPPORTED_METHODS
            headers["Allow"] = ", ".join(each for each in known if handles(self._handler, each))
        return status_code, headers, chunk
