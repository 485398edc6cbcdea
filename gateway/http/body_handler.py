"""A handler of ours that takes a body. It is read in pieces, so that a refused body is never kept."""

from tornado.web import RequestHandler

from gateway.http.bodies import Bodies, Body, BodyError


class BodyHandler(RequestHandler):
    """Subclasses are decorated with `stream_request_body`, so nothing parses their bodies as forms."""

    BODIES = ("POST",)

    _body: Body | None = None

    def begin_body(self, bodies: Bodies, limit: int | None = None, setting: str = "") -> None:
        """Before the body is read, from `prepare`: it may be too large already."""
        try:
            self._body = bodies.begin(self.request.headers, limit, setting)
        except BodyError as error:
            self.refuse_body(error)

    def data_received(self, chunk: bytes) -> None:
        """A piece of the body."""
        if self._body is None or self._finished:
            return
        try:
            self._body.add(chunk)
        except BodyError as error:
            self.refuse_body(error)

    def refuse_body(self, error: BodyError) -> None:
        """Answer; the rest of the body is dropped."""
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(error.sentence)

    def take_body(self) -> bytes:
        """All of it; it counts until the request is answered."""
        return self._body.take() if self._body is not None else b""

    def on_finish(self) -> None:
        """The request is answered."""
        self._release()

    def on_connection_close(self) -> None:
        """The client is gone. A complete body still counts until the handler is done."""
        if not self.request._body_future.done():
            self._release()
        super().on_connection_close()

    def _release(self) -> None:
        if self._body is not None:
            self._body.release()
