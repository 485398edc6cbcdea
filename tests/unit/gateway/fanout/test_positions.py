"""gateway/fanout: what clients that asked for positions receive, and what the others do."""

import msgspec
import pytest

from mesh.gateway.flow.backlog import Backlog
from mesh.gateway.transports.base import Encoding
from mesh.gateway.transports.longpoll.encoding import ENCODINGS as LONGPOLL
from mesh.link.commands import Broadcast, SocketDown
from mesh.protocol.messages import BINARY, JSON, Sender
from mesh.protocol.serializers.registry import BY_NAME
from mesh.telemetry import counters
from tests.support.hub import WORKER
from tests.support.recorded import ELSEWHERE, EPOCH, at, scenario

BYTES = {name: Encoding(serializer, lambda frame: frame.data) for name, serializer in BY_NAME.items()}
V2 = BYTES["v2_json"]
REF = f"{EPOCH}:2"
POSITION = b'[null,null,"room:1","history_position",{"epoch":"%b","offset":%d%b}]'


def position(offset, event=None):
    behind = b',"event":"%b"' % event.encode() if event else b""
    return POSITION % (EPOCH.encode(), offset, behind)


def member(gateway, number, history=True, encoding=V2, topic="room:1"):
    """A client that has joined; with `history`, its position is 1."""
    client = gateway.connect()
    gateway.join(topic, number, history=history, client=client)
    client.encoding, client.session.serializer = encoding, encoding.serializer
    if history:
        gateway.recover(1, number=number)
    client.outbox.clear()
    return client


def texts(client):
    """The refs of the messages that a long-poll client has received."""
    messages = [msgspec.json.decode(msgspec.json.decode(each)) for each in client.outbox]
    return [message[1] for message in messages if message[3] == "e"]


def clear(*clients):
    for client in clients:
        client.outbox.clear()


def crashed(gateway):
    """The channels that their worker was told are over."""
    return [number for each in gateway.workers.sent if type(each) is SocketDown for number in each.channels]


@scenario
def test_a_topic_has_one_more_frame_for_the_clients_that_asked(gateway):
    one, two = member(gateway, 1), member(gateway, 2)
    plain, other = member(gateway, 3, False), member(gateway, 4, False)
    for offset in (2, 3):  # the first finds them among those that are compared, the second does not
        gateway.record(offset, data=b'{"a":1}')
        assert one.outbox == [b'[null,"%b:%d","room:1","e",{"a":1}]' % (EPOCH.encode(), offset)]
        assert plain.outbox == [b'[null,null,"room:1","e",{"a":1}]']
        assert one.outbox[0] is two.outbox[0]
        assert plain.outbox[0] is other.outbox[0]
        clear(one, two, plain, other)
    gateway.broadcast(1, "typing", "elsewhere")
    assert one.outbox == plain.outbox == [b'[null,null,"room:1","typing",{}]']


PACK = msgspec.msgpack.encode
FRAMES = {
    ("v1_json", JSON): [b'{"topic":"room:1","event":"e","payload":{},"ref":"%b"}' % REF.encode()],
    ("v1_json", BINARY): [],
    ("v2_json", JSON): [b'[null,"%b","room:1","e",{}]' % REF.encode()],
    ("v2_json", BINARY): [position(2, "e"), b"\x02\x06\x01room:1e\xff"],
    ("v2_msgpack", JSON): [PACK([None, REF, "room:1", "e", {}])],
    ("v2_msgpack", BINARY): [PACK([None, REF, "room:1", "e", b"\xff"])],
}


@pytest.mark.parametrize(("name", "codec"), FRAMES, ids=lambda each: str(each))
def test_the_position_in_every_serializer(name, codec):
    @scenario
    def test(gateway):
        client = member(gateway, 1, encoding=BYTES[name])
        gateway.record(2, codec=codec, data=b"\xff" if codec == BINARY else b"{}")
        assert client.outbox == FRAMES[name, codec]
        counts = gateway.hub.fanout.routes["room:*"]
        assert counts.expected == counts.delivered + counts.dropped.get("unencodable", 0) == 1

    test()


@scenario
def test_a_client_over_long_poll_gets_text_with_a_ref_and_of_bytes_neither_frame_nor_position(gateway):
    client = member(gateway, 1, encoding=LONGPOLL[BY_NAME["v2_json"]])
    gateway.record(2)
    gateway.record(3, codec=BINARY, data=b"\xff")
    gateway.record(4)
    assert texts(client) == [ref for ref, _ in at(2, 4)]
    assert crashed(gateway) == [], "nothing was missed"


@scenario
def test_bytes_that_are_held_for_a_client_of_text_are_no_gap(gateway):
    client = gateway.connect(encoding=LONGPOLL[BY_NAME["v2_json"]])
    gateway.join(history=True, client=client)
    gateway.record(2, codec=BINARY, data=b"\xff")
    gateway.record(3)
    gateway.recover(1)
    gateway.record(4)
    assert texts(client) == [ref for ref, _ in at(3, 4)]
    assert crashed(gateway) == []


@scenario
def test_the_sender_of_a_broadcast_from_receives_its_position_in_its_place(gateway):
    one, other, plain = member(gateway, 1), member(gateway, 2), member(gateway, 3, False)
    for offset in (2, 3):
        gateway.record(offset, sender=Sender("g", 1, True))
        assert one.outbox == [position(offset)]
        assert len(other.outbox) == len(plain.outbox) == 1
        clear(one, other, plain)
    gateway.record(4, sender=Sender("g", 3, True))
    assert (len(one.outbox), plain.outbox) == (1, [])
    gateway.broadcast(1, "typing", "elsewhere", sender=Sender("g", 2, True))
    assert len(other.outbox) == 1, "what is not kept has no position"
    counts = gateway.hub.fanout.routes["room:*"]
    assert counts.filtered == {"sender": 4}
    assert counts.expected == 12 == counts.delivered + 4


@scenario
def test_a_position_that_is_held_keeps_its_place(gateway):
    client = gateway.connect(encoding=V2)
    gateway.join(history=True, client=client)
    gateway.record(2)
    gateway.record(3, sender=Sender("g", 1, True))
    gateway.record(4)
    gateway.recover(1)
    assert client.outbox[2:] == [
        b'[null,"%b:2","room:1","e",{}]' % EPOCH.encode(),
        position(3),
        b'[null,"%b:4","room:1","e",{}]' % EPOCH.encode(),
    ]


@scenario
def test_a_broadcast_over_the_link_reaches_clients_with_positions(gateway):
    clients = [member(gateway, 1), member(gateway, 2, False)]
    gateway.record(2)
    clear(*clients)
    gateway.hear(Broadcast("room:1", 0, "presence_diff", JSON, b"{}"))
    assert [client.outbox for client in clients] == [[b'[null,null,"room:1","presence_diff",{}]']] * 2


@scenario
def test_an_intercepted_event_does_not_reach_the_client_and_is_no_gap(gateway):
    client = gateway.connect(encoding=V2)
    gateway.join(history=True, client=client, intercepts=("secret",))
    gateway.recover(1)
    gateway.record(2, "secret")
    gateway.record(3, "open")
    assert len(client.outbox) == 3
    assert crashed(gateway) == []


def test_what_a_gateway_has_missed_ends_the_channels_that_need_it_and_no_other():
    for live in (True, False):

        @scenario
        def test(gateway, live=live):
            one, plain = member(gateway, 1), member(gateway, 2, False)
            if live:
                gateway.record(2)
            before = counters.value("history_gaps")
            clear(one, plain)
            gateway.record(4)
            assert b"phx_error" in one.outbox[-1]
            assert plain.outbox == [b'[null,null,"room:1","e",{}]']
            assert crashed(gateway) == [1]
            assert counters.value("history_gaps") == before + 1
            gateway.record(5)
            assert len(plain.outbox) == 2
            counts = gateway.hub.fanout.routes["room:*"]
            became = sum(counts.filtered.values()) + sum(counts.dropped.values()) + counts.held
            assert counts.expected == counts.delivered + became

        test()


@scenario
def test_a_claim_shows_what_was_missed_at_once(gateway):
    member(gateway, 1)
    gateway.record(2)
    gateway.claim(2, term=2, recorder="x")
    assert crashed(gateway) == []
    gateway.claim(3, term=3, recorder="x")
    assert crashed(gateway) == [1]


@scenario
def test_what_is_missing_among_the_held_ends_the_channel_and_accounts_for_them(gateway):
    gateway.say("1", "1", "room:1", "phx_join", {})
    for offset in (2, 4, 5):
        gateway.record(offset)
    gateway.join(history=True)
    gateway.recover(1)
    assert [event for _, event in gateway.heard()][-2:] == ["e", "phx_error"]
    counts = gateway.hub.fanout.routes["room:*"]
    assert (counts.expected, counts.delivered, counts.dropped) == (3, 1, {"channel_ended": 2})


def test_a_gap_is_logged_once_for_each_topic_and_counted_each_time(log_lines):
    @scenario
    def test(gateway):
        before = counters.value("history_gaps")
        member(gateway, 1, history=False)
        for offset in (2, 4, 6):
            gateway.record(offset)
        assert counters.value("history_gaps") == before + 2

    test()
    assert sum(line[2].startswith("a recorded broadcast was missed") for line in log_lines) == 1


@scenario
def test_channels_whose_worker_is_not_the_recorder_have_every_broadcast_once(gateway):
    client = member(gateway, 1)
    for offset in (2, 3):
        gateway.record(offset, recorder="r", origin=ELSEWHERE, sequence=offset)
    gateway.record(4, recorder="r", origin=WORKER, sequence=7)
    gateway.record(5, recorder="r", origin=ELSEWHERE, sequence=9)
    assert len(client.outbox) == 4
    gateway.record(7, recorder="r", origin=ELSEWHERE, sequence=9)
    assert crashed(gateway) == [1]


@scenario
def test_for_a_slow_client_positions_are_dropped_with_their_broadcasts(gateway):
    client = member(gateway, 1, topic="newest:1")
    backlog = Backlog()
    client.outbox.__class__ = type("Behind", (list,), {"send": lambda _, frame: backlog.add(frame, frame)})
    for offset in range(2, 20):
        gateway.record(offset, topic="newest:1", codec=BINARY, data=b"\xff")
    waiting = [bytes(each) for each in backlog]
    assert waiting == [position(19, "e").replace(b"room", b"newest"), b"\x02\x08\x01newest:1e\xff"]
    counts = gateway.hub.fanout.routes["newest:*"]
    assert (counts.unsent, counts.dropped) == (1, {"conflated": 17})
