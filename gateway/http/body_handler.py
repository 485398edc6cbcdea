"""The base of our own handlers that accept a body. It is streamed, so a refused body is never kept."""

from tornado.web import RequestHandler

from mesh.gateway.http.bodies import Bodies, Body, BodyError


class BodyHandler(RequestHandler):
    """Decorate subclasses with `stream_request_body`, so that no body is parsed as a form."""

    BODIES = ("POST",)

    _body: Body | None = None

    def begin_body(self, bodies: Bodies, limit: int | None = None, setting: str = "") -> None:
        """Begin the body; call this in `prepare`. A body that is too large by its headers is refused."""
        try:
            self._body = bodies.begin(self.request.headers, limit, setting)
        except BodyError as error:
            self.refuse_body(error)

    def data_received(self, chunk: bytes) -> None:
        """Add a chunk of the body."""
        if self._body is None or self._finished:
            return
        try:
            self._body.add(chunk)
        except BodyError as error:
            self.refuse_body(error)

    def refuse_body(self, error: BodyError) -> None:
        """Answer with the error; the rest of the body is dropped."""
        self.set_status(error.status)
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(error.sentence)

    def take_body(self) -> bytes:
        """Return the whole body; its bytes count until the request is answered."""
        return self._body.take() if self._body is not None else b""

    def on_finish(self) -> None:
        """The request is answered: release the body."""
        self._release()

    def on_connection_close(self) -> None:
        """The client is gone. A complete body still counts until the handler is done."""
        if not self.request._body_future.done():
            self._release()
        super().on_connection_close()

    def _release(self) -> None:
        if self._body is not None:
            self._body.release()
