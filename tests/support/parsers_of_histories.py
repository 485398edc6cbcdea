"""Calls of the parsers that read histories and the requests for them, for tests/support/parsers.py."""

from typing import Any

from mesh import History
from mesh.bus.frames import RECORDED, VERSION, Received, Recorded
from mesh.gateway.http.history_requests import encode_page, parse_query
from mesh.history import contract, listing, messages
from mesh.history.contract import Entry, Page, Query
from mesh.history.log import Log
from mesh.history.snapshot import Snapshot
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, JSON, MSGPACK, Sender
from mesh.worker.channel.recovery import request_of
from tests.support.parser import JSON_OF, PACK

EPOCH = "k3v9a0b1c2d3"
ENTRIES = [
    Entry(4, "msg", JSON, b'{"a":1}', "n", 7, 1.5),
    Entry(5, "msg", BINARY, b"\0\xff", "m", 2**63, 2.0),
    Entry(6, "msg", MSGPACK, b"\x81\xa1a\x01", "n", 8, 2.5),
]
LOG = Snapshot(EPOCH, 3, "w", 6, ENTRIES, {"n": [0, 7, 8], "m": [0, 2**63]})

HISTORY_QUESTIONS = [PACK(Query("room:1")), PACK(Query("room:1", EPOCH, 3, 9, 50))]
HISTORY_PAGES = [PACK(Page(EPOCH, 6, True, ENTRIES)), PACK(contract.UNREADABLE), PACK(contract.NO_HISTORY)]
HISTORY_LOGS = [
    PACK(messages.Give(messages.COPY, [("room:1", LOG), ("room:2", LOG)])),
    PACK(messages.Give(messages.RECORD, [("room:1", Snapshot(EPOCH, 2**53, "w", 2**53, [], {}))])),
]
HISTORY_JOINS = [
    JSON_OF({"history": {"epoch": EPOCH, "offset": 2**53}}),
    JSON_OF({"history": {"last": 20}}),
    JSON_OF({"history": {}, "user": "ana"}),
    JSON_OF({"history": None}),
    JSON_OF([1]),
]
HISTORY_QUERIES = [
    b"topic=room:1",
    b"topic=room%3A1&epoch=k3v9a0b1c2d3&after=9007199254740992&before=7&limit=1000",
]


def recorded_seeds() -> list[bytes]:
    """Recorded broadcasts and claims, in the form of `bus_message`."""
    found = []
    for age, sender, event, position in (
        (None, None, "msg", Recorded(EPOCH, 1, 1)),
        (1_500, Sender("g", 3, True, 9), "msg", Recorded("e" * 64, 2**53, 2**53, "n" * 255, 2**64 - 1)),
        (None, None, "", Recorded(EPOCH, 0, 0)),
    ):
        header = PACK(Received(VERSION, RECORDED, "w", 5, event, JSON, sender, age, position))
        found += [bytes((7, len(header))) + b"room:1\0" + header + b"{}"] if len(header) < 256 else []
    return found


def history_page(data: bytes) -> Any:
    """An answer, and what an application and the HTTP API make of it."""
    page = contract.decode_page(data)
    listing.decoded("room:1", page)
    encode_page("room:1", page)
    return page


def history_logs(data: bytes) -> Any:
    """Logs of topics, and what becomes of them in a worker that has another log of each."""
    give = messages.decode_give(data)
    for _, given in give.logs:
        for log in (Log("me"), Log("w", 2, EPOCH), Log.of(given)):
            log.merge(given)
            log.begin_term("me")
            log.record("msg", JSON, b"{}", "another", 1, 3.0)
            log.read(Query("room:1", EPOCH, 0), History(), 3.0)
            messages.decode_give(PACK(messages.Give(messages.COPY, [("room:1", log.snapshot())])))
    return give


def history_of_join(data: bytes) -> Any:
    """What the payload of a join asks for."""
    return request_of(payloads.decode(JSON, data))


def history_query(data: bytes) -> Any:
    """The query string of the HTTP API for histories."""
    return parse_query(data.decode("latin1"))
