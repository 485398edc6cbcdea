"""The HTTP publishing API, for programs that do not use ZeroMQ; off unless `api.keys` is set.

`POST /api/broadcast`, `/api/broadcast_batch` and `/api/disconnect` are answered when the proxy has the
messages. The body of a refusal is `{"error": "a sentence"}`. The API is not for browsers, because a key
allows its holder to publish anything.
"""

import asyncio
import hmac
import re
from typing import Any

import msgspec
from tornado.web import stream_request_body

from mesh.app import topics
from mesh.app.endpoint import Endpoint
from mesh.bus.contract import Bus
from mesh.bus.delivery import publish_and_confirm
from mesh.bus.frames import ONCE, Header
from mesh.errors import RemoteProtocolError, UnreachableError, WireError
from mesh.gateway.http import idempotency
from mesh.gateway.http.api_handler import ApiHandler, check_free
from mesh.gateway.http.bodies import Bodies, BodyError
from mesh.gateway.http.body_handler import BodyHandler
from mesh.gateway.http.idempotency import IdempotencyKeys
from mesh.gateway.http.params import decode_query
from mesh.gateway.http.requests import ACTIONS, ReadyMessage, RequestError
from mesh.settings import ApiSettings
from mesh.telemetry import Complaints, counters, get_logger

log = get_logger(__name__)
_malformed = Complaints(log, "idempotency key dropped")


class PublishApi:
    """Checks keys and publishes, for all requests of a gateway.

    Args:
        bus: the gateway's bus.
        settings: must contain at least one key.
    """

    def __init__(self, bus: Bus, settings: ApiSettings) -> None:
        self.settings = settings
        self._bus = bus
        self._keys = [each.get_secret_value().encode() for each in settings.keys]
        self._used_keys = IdempotencyKeys(settings.idempotency_seconds, settings.max_idempotency_keys)
        self._loop = asyncio.get_running_loop()
        bus.subscribe(topics.exact(topics.ONCE))

    def key_of(self, authorization: str) -> bytes | None:
        """Return the API key in an Authorization header, or None if it is not one of the settings'."""
        scheme, _, given = authorization.partition(" ")
        candidate = given.strip().encode() if scheme.lower() == "bearer" else b""
        found = None
        for key in self._keys:  # compare with all of them, so that the time reveals nothing
            if hmac.compare_digest(key, candidate):
                found = key
        return found

    async def publish(self, action: str, body: bytes, idempotency_key: str | None) -> tuple[int, bool]:
        """Publish; return the number of messages, and whether an earlier request had published them.

        Raises:
            RequestError: if the request is invalid; nothing was published.
            UnreachableError: if the bus did not confirm in time.
        """
        ready = ACTIONS[action](body, self.settings.max_batch_messages)
        fingerprint = idempotency.digest(action.encode(), body)
        repeated = False

        def publish() -> None:
            nonlocal repeated
            repeated = idempotency_key is not None and self._is_repeated(idempotency_key, fingerprint)
            if not repeated:
                self._publish(ready, idempotency_key, fingerprint)

        try:
            await publish_and_confirm(self._bus, publish, self.settings.timeout_seconds)
        except UnreachableError as error:
            if error.lost and idempotency_key is not None:
                self._announce_key(idempotency_key, fingerprint, 0)  # so that a repetition publishes
            raise
        return len(ready), repeated

    def _is_repeated(self, key: str, fingerprint: bytes) -> bool:
        used = self._used_keys.find(key, self._loop.time())
        if used is None or not used.published:
            return False
        if used.fingerprint != fingerprint:
            raise RequestError(409, "this Idempotency-Key was used for another request; take a new one")
        return True

    def _publish(self, ready: list[ReadyMessage], idempotency_key: str | None, fingerprint: bytes) -> None:
        for each in ready:
            self._bus.publish(each.topic, each.event, each.codec, each.data, None)
        counters.count("api_messages_published", len(ready))
        if idempotency_key is not None:
            self._announce_key(idempotency_key, fingerprint, len(ready))

    def _announce_key(self, key: str, fingerprint: bytes, published: int) -> None:
        """Remember a key here and at the other gateways."""
        self._used_keys.remember(key, fingerprint, published, self._loop.time())
        data = idempotency.encode(fingerprint, published)
        self._bus.publish_kind(ONCE, topics.ONCE, key, data=data)

    def used_elsewhere(self, header: Header, data: bytes) -> None:
        """Note an Idempotency-Key that another gateway has used (a bus message of kind ONCE)."""
        if header.origin == self._bus.node:
            return
        try:
            fingerprint, published = idempotency.decode(data)
        except WireError as error:
            _malformed.about(header.origin, "bus_messages_malformed", str(error))
            return
        self._used_keys.remember(header.event, fingerprint, published, self._loop.time())


@stream_request_body
class PublishHandler(ApiHandler, BodyHandler):
    """Handles one publishing request. The body is streamed, so a refused body is never kept."""

    METHODS = ("POST",)

    def initialize(self, api: PublishApi, action: str, bodies: Bodies) -> None:
        """Called by Tornado with the arguments of the route."""
        self._api = api
        self._action = action
        self._bodies = bodies
        self._key = b""

    def prepare(self) -> None:
        """Check the key and the query before the body is read."""
        if self.request.method != "POST":
            return
        headers, limit = self.request.headers, self._api.settings.max_body_bytes
        key = self._api.key_of(headers.get("Authorization", ""))
        if key is None:
            self.refuse_key()
            return
        problem = _query_problem(self.request.query)
        if problem is not None:
            self.refuse(problem)
            return
        self._key = key
        self.begin_body(self._bodies, limit, "api.max_body_bytes")

    def refuse_body(self, error: BodyError) -> None:
        """Answer with the error as JSON."""
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.refuse(RequestError(error.status, error.sentence))

    async def post(self) -> None:
        """Publish, once the body has been read."""
        try:
            await self._publish()
        except RequestError as problem:
            self.refuse(problem)
        except UnreachableError as error:
            self.refuse(RequestError(503, str(error)))

    async def _publish(self) -> None:
        body = self.take_body()
        published, repeated = await self._api.publish(self._action, body, self._idempotency_key())
        if repeated:
            self.set_header("Idempotency-Replayed", "true")
        self.answer(200, msgspec.json.encode({"published": published}))

    def _idempotency_key(self) -> str | None:
        """Return what identifies this Idempotency-Key of this API key on the bus."""
        given = self.request.headers.get("Idempotency-Key")
        if given is None:
            return None
        if not 0 < len(given) <= idempotency.MAX_KEY_CHARACTERS:
            raise RequestError(
                400,
                f"Idempotency-Key of {len(given)} characters; want 1 to {idempotency.MAX_KEY_CHARACTERS}",
            )
        return idempotency.digest(self._key, given.encode()).hex()


def routes(api: PublishApi, endpoint: Endpoint, bodies: Bodies) -> list[tuple[Any, ...]]:
    """Return the API's routes, for Tornado's application.

    Raises:
        ApplicationError: if the application has its own handler for one of these paths.
    """
    made: list[tuple[Any, ...]] = []
    for action in ACTIONS:
        path = f"{api.settings.path}/{action}"
        check_free(path, endpoint)
        made.append((re.escape(path), PublishHandler, {"api": api, "action": action, "bodies": bodies}))
    return made


def _query_problem(query: str) -> RequestError | None:
    """Return an error if the query is malformed. The API has no query parameters."""
    try:
        decode_query(query)
    except RemoteProtocolError as error:
        return RequestError(400, str(error))
    return None
