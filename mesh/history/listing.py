"""Queries and pages, as applications see them: `endpoint.history` and the like. Pure."""

from mesh.app.history import KeptBroadcast
from mesh.errors import DecodeError
from mesh.history.contract import MAX_OFFSET, Page, Query
from mesh.protocol import payloads
from mesh.telemetry import Complaints, get_logger

_malformed = Complaints(get_logger(__name__), "kept broadcast left out")

MAX_LIMIT = 2**31
"""No history has as many entries."""


def newest(topic: str, limit: int, before: int | None) -> Query:
    """Return the query for the newest broadcasts of a topic, below an offset if it is given."""
    return Query(
        topic, before=None if before is None else min(before, MAX_OFFSET), limit=min(limit, MAX_LIMIT)
    )


def decoded(topic: str, page: Page) -> list[KeptBroadcast]:
    """Return the entries of a page; those whose payload cannot be decoded are left out, and counted."""
    kept = []
    for entry in page.entries:
        try:
            payload = payloads.decode(entry.codec, entry.data)
        except DecodeError as error:
            _malformed.about(entry.origin, "bus_messages_malformed", str(error), topic=topic)
            continue
        kept.append(KeptBroadcast(entry.offset, entry.event, payload, entry.at))
    return kept
