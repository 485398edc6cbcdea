"""Answers to the calls for histories: cut to the size of a message, and given to every question."""

import asyncio

import pytest

from mesh.errors import HistoryUnavailableError
from mesh.history.answers import HistoryAnswers
from mesh.history.contract import (
    FORGET,
    NO_HISTORY,
    READ,
    UNREADABLE,
    Entry,
    Page,
    Query,
    decode_page,
    encode,
)
from mesh.history.paging import MAX_BYTES, cut
from mesh.telemetry import counters
from tests.support.history_worker import StoreSource, endpoint

NEWEST, FOLLOWING = Query("room:1"), Query("room:1", after=0)


def asked(source, name, data, **options):
    async def ask():
        return decode_page(await HistoryAnswers(source, endpoint.kept_topics, **options).find(name)(data))

    return asyncio.run(ask())


def recorded(*datas):
    source = StoreSource()

    async def record():
        for data in datas:
            await source.record("room:1", "msg", data)

    asyncio.run(record())
    return source


def offsets(page):
    return [each.offset for each in page.entries]


def page_of(*sizes):
    return Page(
        "e", len(sizes), True, [Entry(n, "e", 1, bytes(s), "n", n, 0.0) for n, s in enumerate(sizes, 1)]
    )


def test_a_query_is_answered_with_its_page():
    source = recorded(b"a", b"b", b"c")
    page = asked(source, READ, encode(Query("room:1", after=1)))
    assert (offsets(page), page.offset, page.complete) == ([2, 3], 3, True)
    assert [each.data for each in page.entries] == [b"b", b"c"]


def test_a_history_is_removed_and_begins_a_new_epoch():
    source = recorded(b"a")
    before = asked(source, READ, encode(Query("room:1")))
    after = asked(source, FORGET, b"room:1")
    assert (after.offset, after.entries) == (0, [])
    assert before.epoch != after.epoch == asked(source, READ, encode(Query("room:1"))).epoch
    assert source.forgotten == ["room:1"]


def test_a_large_page_is_cut_to_the_newest_or_to_those_that_follow():
    source = recorded(*[bytes(300_000)] * 5)
    newest = asked(source, READ, encode(Query("room:1")))
    assert (offsets(newest), newest.complete) == ([3, 4, 5], False)
    following = asked(source, READ, encode(Query("room:1", after=1)))
    assert (offsets(following), following.complete) == ([2, 3, 4], False)


def test_an_entry_larger_than_a_page_is_sent_alone():
    source = recorded(b"a", bytes(2 * MAX_BYTES), b"b")
    assert offsets(asked(source, READ, encode(Query("room:1", after=1)))) == [2]
    assert offsets(asked(source, READ, encode(Query("room:1", before=3)))) == [2]


def test_a_bus_with_small_messages_gets_small_pages():
    source = recorded(*[bytes(1_000)] * 5)
    page = asked(source, READ, encode(Query("room:1")), max_message_bytes=5_000)
    assert (offsets(page), page.complete) == ([4, 5], False)


def test_entries_without_a_payload_are_cut_as_well():
    page = page_of(*[0] * 100)
    assert 0 < len(cut(NEWEST, page, 1_000).entries) < 100


def test_a_page_that_fits_stays_as_it_is():
    page = Page("e", 3, False, page_of(1, 1, 1).entries)
    assert cut(NEWEST, page, 1_000) is page
    empty = Page("e", 0, True, [])
    assert cut(FOLLOWING, empty, 1_000) is empty


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (READ, b""),
        (READ, b"\xc1"),
        (READ, encode(["room:1", None, -1])),
        (READ, encode(["room:1", None, 2**53 + 1])),
        (READ, encode(["room:1", None, None, None, -1])),
        (READ, encode([7])),
        (READ, encode(Query("$nodes"))),
        (FORGET, b"\xff"),
        (FORGET, b"$nodes"),
    ],
)
def test_a_malformed_question_is_answered_as_unreadable_and_counted(name, data):
    source = StoreSource()
    before = counters.value("bus_messages_malformed")
    assert asked(source, name, data) == UNREADABLE
    assert counters.value("bus_messages_malformed") == before + 1
    assert (source.queries, source.forgotten) == ([], [])


def test_a_topic_without_history_is_answered_as_such():
    source = StoreSource()
    assert asked(source, READ, encode(Query("plain:1"))) == NO_HISTORY
    assert asked(source, FORGET, b"plain:1") == NO_HISTORY
    assert (source.queries, source.forgotten) == ([], [])


def test_what_cannot_be_read_is_answered_as_unreadable():
    class Failing:
        async def read(self, query):
            raise HistoryUnavailableError("away")

        async def forget(self, topic):
            raise HistoryUnavailableError("away")

    assert asked(Failing(), READ, encode(Query("room:1"))) == UNREADABLE
    assert asked(Failing(), FORGET, b"room:1") == UNREADABLE


def test_other_calls_are_not_answered():
    assert HistoryAnswers(StoreSource(), endpoint.kept_topics).find("gateway.topics") is None
