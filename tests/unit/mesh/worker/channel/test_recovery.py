"""What a join asks for, and what follows its answer."""

import asyncio

import msgspec
import pytest

from mesh import Channel, Endpoint, History, SocketHandler, refuse
from mesh.errors import ChannelError
from mesh.history.contract import UNREADABLE, Entry, Page
from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON
from mesh.settings import WorkerSettings
from mesh.worker.channel.recovery import MISSED_BYTES, Request, request_of
from mesh.worker.channels import Channels
from tests.support.bus import NumberingBus
from tests.support.until import until

LINK = b"link"


class Room(Channel):
    history = History(messages=100)
    intercept = ("secret",)

    def join(self, topic, payload):
        if payload.get("refuse"):
            return refuse("no")
        return {"asked": payload.get("history")}

    def after_join(self, payload):
        self.push("welcome", {})

    def handle_out(self, event, payload):
        self.push(event, payload)


class Board(Channel):
    history = History(messages=1)


class Plain(Channel):
    pass


class UserSocket(SocketHandler):
    channels = {"room:*": Room, "board:*": Board, "plain:*": Plain}


class Recorder:
    """Answers every query with one page."""

    def __init__(self, bus, page, reading):
        self.publish = bus.publish
        self.page = page
        self.queries = []
        self.reading = reading

    async def read(self, query):
        self.queries.append(query)
        self.reading()
        return self.page


def entry(offset, event="msg", codec=JSON, data=b"{}"):
    return Entry(offset, event, codec, data, "n", offset, 0.0)


def page(*entries, epoch="e1", offset=None, complete=True):
    last = entries[-1].offset if entries else 0
    return Page(epoch, last if offset is None else offset, complete, list(entries))


def joined(answer, payload, topic="room:1", version=commands.HISTORY, read=lambda sent: None):
    """What the gateway is sent for a join, until the channel has joined."""

    async def scenario():
        sent, bus = [], NumberingBus()
        recorder = Recorder(bus, answer, lambda: read(sent))
        channels = Channels(
            Endpoint({"/socket": UserSocket}),
            bus,
            lambda link, command: sent.append(command) or len(sent),
            WorkerSettings(),
            lambda link: version,
            recorder=recorder,
        )
        channels.gateway_up(LINK, "g")
        data = payload if isinstance(payload, bytes) else msgspec.json.encode(payload)
        channels.handle(
            LINK,
            commands.Join(1, "/socket", topic, "1", None, "websocket", "v2_json", b"\x80", JSON, data),
        )
        await until(lambda: sent and not channels.busy())
        await channels.aclose()
        return [each for each in sent if not isinstance(each, commands.Crashed)], recorder.queries

    return asyncio.run(scenario())


def state(sent):
    (found,) = [each for each in sent if isinstance(each, commands.HistoryState)]
    return found.epoch, found.offset, found.recovered, found.count


def missed(sent):
    return [
        each.offset
        for command in sent
        if isinstance(command, commands.Missed)
        for each in command.broadcasts
    ]


@pytest.mark.parametrize(
    ("payload", "asked"),
    [
        ({}, None),
        ([1], None),
        ("history", None),
        ({"history": None}, None),
        ({"history": {}}, Request()),
        ({"history": {"other": 1}}, Request()),
        ({"history": {"last": 20}}, Request(last=20)),
        ({"history": {"epoch": None, "offset": None}}, Request()),
        ({"history": {"epoch": "e", "offset": 0}}, Request("e", 0)),
        ({"history": {"epoch": "", "offset": 0}}, Request("", 0)),
        ({"history": {"epoch": "e", "offset": 2**53}}, Request("e", 2**53)),
    ],
)
def test_a_join_asks_by_its_payload(payload, asked):
    assert request_of(payload) == asked


@pytest.mark.parametrize(
    ("history", "named"),
    [
        ([], "want an object"),
        ("e1:3", "want an object"),
        (True, "want an object"),
        ({"epoch": "e"}, "only one of epoch and offset"),
        ({"offset": 1}, "only one of epoch and offset"),
        ({"epoch": 1, "offset": 1}, "history.epoch is 1"),
        ({"epoch": "e" * 65, "offset": 1}, "at most 64 characters"),
        ({"epoch": "e", "offset": -1}, "history.offset is -1"),
        ({"epoch": "e", "offset": "1"}, "history.offset is '1'"),
        ({"epoch": "e", "offset": 1.0}, "history.offset is 1.0"),
        ({"epoch": "e", "offset": True}, "history.offset is True"),
        ({"epoch": "e", "offset": 2**53 + 1}, "want an integer from 0 to"),
        ({"last": 0}, "history.last is 0"),
        ({"last": -3}, "history.last is -3"),
        ({"last": "20"}, "history.last is '20'"),
        ({"last": True}, "history.last is True"),
        ({"epoch": "e", "offset": 1, "last": 3}, "last beside epoch and offset"),
    ],
)
def test_a_malformed_request_refuses_the_join_and_says_why(history, named):
    with pytest.raises(ChannelError, match=named.replace("(", r"\(")):
        request_of({"history": history})
    sent, queries = joined(page(), {"history": history})
    (refused,) = sent
    assert isinstance(refused, commands.Refused)
    assert named.encode() in refused.data
    assert queries == []


def test_what_was_missed_follows_the_answer_and_precedes_after_join():
    answer = page(entry(4), entry(5, codec=BINARY, data=b"\0"))
    sent, (query,) = joined(answer, {"history": {"epoch": "e1", "offset": 3}})
    assert (query.epoch, query.after) == ("e1", 3)
    assert [type(each) for each in sent] == [
        commands.Joined,
        commands.HistoryState,
        commands.Missed,
        commands.Pushed,
    ]
    assert sent[0].history
    assert state(sent) == ("e1", 5, True, 2)
    assert missed(sent) == [4, 5]


def test_an_answer_that_is_not_complete_is_not_recovered():
    sent, _ = joined(page(offset=9, complete=False), {"history": {"epoch": "e0", "offset": 3}})
    assert state(sent) == ("e1", 9, False, 0)
    assert missed(sent) == []


def test_a_history_that_cannot_be_read_is_not_recovered():
    for asked in ({}, {"last": 3}, {"epoch": "e1", "offset": 3}):
        sent, _ = joined(UNREADABLE, {"history": asked})
        assert state(sent) == ("", 0, False, 0)


def test_only_positions_or_the_last_broadcasts_are_always_recovered():
    sent, (query,) = joined(page(offset=7), {"history": {}})
    assert (state(sent), query.limit) == (("e1", 7, True, 0), 0)
    sent, (query,) = joined(page(entry(6), entry(7)), {"history": {"last": 2**60}})
    assert (state(sent), query.limit) == (("e1", 7, True, 2), 100)


def test_the_last_broadcasts_are_read_before_the_join_is_answered():
    before = []
    for asked, first in (({"last": 3}, False), ({}, True), ({"epoch": "e1", "offset": 0}, True)):
        sent, _ = joined(page(entry(1)), {"history": asked}, read=lambda sent: before.append(bool(sent)))
        assert before.pop() is first
        assert isinstance(sent[0], commands.Joined)


def test_a_join_that_does_not_ask_gets_what_it_always_got():
    for payload, topic, version in (
        ({}, "room:1", 3),
        ({"history": {}}, "plain:1", 3),
        ({"history": {}}, "room:1", 2),
    ):
        sent, queries = joined(page(entry(1)), payload, topic, version)
        assert isinstance(sent[0], commands.Joined)
        assert not sent[0].history
        assert not any(isinstance(each, (commands.HistoryState, commands.Missed)) for each in sent)
        assert queries == []


def test_a_refused_join_is_followed_by_nothing():
    sent, queries = joined(page(entry(1)), {"refuse": True, "history": {}})
    assert [type(each) for each in sent] == [commands.Refused]
    assert queries == []


def test_intercepted_events_are_not_among_what_was_missed():
    answer = page(entry(1), entry(2, "secret"), entry(3))
    sent, _ = joined(answer, {"history": {"epoch": "e1", "offset": 0}})
    assert (state(sent), missed(sent)) == (("e1", 3, True, 2), [1, 3])


def test_the_last_value_of_a_cached_topic_comes_with_every_join_that_asks():
    for asked in ({}, {"last": 5}, {"epoch": "e0", "offset": 3}, {"epoch": "e1", "offset": 7}):
        sent, (query,) = joined(page(entry(9)), {"history": asked}, "board:1")
        assert (state(sent), missed(sent), query.limit) == (("e1", 9, True, 1), [9], 1)
    sent, _ = joined(page(entry(9)), {"history": {"epoch": "e1", "offset": 9}}, "board:1")
    assert (state(sent), missed(sent)) == (("e1", 9, True, 0), [])
    sent, _ = joined(page(), {"history": {"epoch": "e0", "offset": 3}}, "board:1")
    assert state(sent) == ("e1", 0, False, 0)


def big(offset):
    return entry(offset, data=b'"%b"' % (b"x" * (MISSED_BYTES // 3)))


def test_a_client_that_missed_more_than_the_limit_has_not_recovered():
    entries = [big(each) for each in range(1, 101)]
    sent, _ = joined(page(*entries), {"history": {"epoch": "e1", "offset": 0}})
    assert (state(sent), missed(sent)) == (("e1", 100, False, 0), [])
    sent, _ = joined(page(*entries), {"history": {"last": 100}})
    assert state(sent)[:3] == ("e1", 100, True)
    assert missed(sent) == list(range(101 - len(missed(sent)), 101))
    assert 10 < len(missed(sent)) < 100


def test_much_that_was_missed_comes_in_pieces():
    entries = [big(each) for each in range(1, 11)]
    sent, _ = joined(page(*entries), {"history": {"epoch": "e1", "offset": 0}})
    pieces = [each for each in sent if isinstance(each, commands.Missed)]
    assert len(pieces) > 2
    assert missed(sent) == list(range(1, 11))
