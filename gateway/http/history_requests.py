"""Parses the queries of the API for histories, and encodes the answers. Pure."""

import base64
from typing import Any

import msgspec

from mesh.app import topics
from mesh.app.history import LIST_LIMIT
from mesh.errors import MeshError, PayloadError, RemoteProtocolError, TopicError
from mesh.gateway.http.params import decode_query
from mesh.gateway.http.requests import RequestError
from mesh.history.contract import MAX_EPOCH_CHARACTERS, MAX_OFFSET, Entry, Page, Query
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, JSON
from mesh.telemetry import Complaints, get_logger

_malformed = Complaints(get_logger(__name__), "kept broadcast left out")

MAX_LIMIT = 1_000
"""The most messages of one answer."""

_encode = msgspec.json.Encoder().encode


def parse_query(query: str) -> Query:
    """Parse `topic=…&epoch=…&after=…&before=…&limit=…`, all but the topic optional. Raises RequestError."""
    given = _params(query, ("topic", "epoch", "after", "before", "limit"))
    topic = _topic(given)
    epoch, after = given.get("epoch"), _number(given, "after", 0, MAX_OFFSET)
    if epoch is not None and after is None:
        raise RequestError(400, "epoch without after; want both, the position of the last message you have")
    if epoch is not None and not 0 < len(epoch) <= MAX_EPOCH_CHARACTERS:
        raise RequestError(
            400, f"epoch has {len(epoch)} characters; want 1 to {MAX_EPOCH_CHARACTERS}, as in an answer"
        )
    limit = _number(given, "limit", 1, MAX_LIMIT)
    before = _number(given, "before", 1, MAX_OFFSET)
    return Query(topic, epoch, after, before, LIST_LIMIT if limit is None else limit)


def parse_topic(query: str) -> str:
    """Parse `topic=…`. Raises RequestError."""
    return _topic(_params(query, ("topic",)))


def encode_page(topic: str, page: Page) -> bytes:
    """Encode an answer as JSON. Messages whose payload cannot be expressed in JSON are left out."""
    messages = []
    for entry in page.entries:
        try:
            messages.append(_message(entry))
        except MeshError as error:
            _malformed.about(entry.origin, "bus_messages_malformed", str(error), topic=topic)
    answer = {"epoch": page.epoch, "offset": page.offset, "complete": page.complete, "messages": messages}
    return _encode(answer)


def _message(entry: Entry) -> dict[str, Any]:
    message: dict[str, Any] = {"offset": entry.offset, "event": entry.event}
    if entry.codec == BINARY:
        message["data"] = base64.b64encode(entry.data).decode()
    else:
        message["payload"] = msgspec.Raw(_json(entry.codec, entry.data))
    message["at"] = round(entry.at, 3)
    return message


def _json(codec: int, data: bytes) -> bytes:
    """Return a payload as JSON. Raises DecodeError or PayloadError."""
    if codec != JSON:
        return payloads.encode(payloads.decode(codec, data))[1]
    flaw = payloads.flaw(codec, data)
    if flaw is not None:
        raise PayloadError(flaw)
    return data


def _params(query: str, known: tuple[str, ...]) -> dict[str, str]:
    try:
        given = decode_query(query)
    except RemoteProtocolError as error:
        raise RequestError(400, str(error)) from None
    for name, value in given.items():
        if name not in known:
            raise RequestError(400, f"unknown parameter {name[:80]!r}; want {', '.join(known)}")
        if not isinstance(value, str):
            raise RequestError(400, f"{name} is nested; want one value")
    return given


def _topic(given: dict[str, str]) -> str:
    topic = given.get("topic", "")
    if not topic:
        raise RequestError(400, "topic is missing; want for example ?topic=room:1")
    try:
        return topics.check(topic)
    except TopicError as error:
        raise RequestError(400, str(error)) from None


def _number(given: dict[str, str], name: str, least: int, most: int) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    digits = text.isascii() and text.isdecimal() and len(text) <= len(str(most))
    if not digits or not least <= int(text) <= most:
        raise RequestError(400, f"{name} is {text[:80]!r}; want an integer from {least} to {most}")
    return int(text)
