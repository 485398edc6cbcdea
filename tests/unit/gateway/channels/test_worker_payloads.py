"""Whatever a worker or a program on the bus says, clients hear only what they can read."""

import json

import pytest

from mesh.bus.frames import BROADCAST, VERSION, Received
from mesh.errors import ChannelError, PayloadError
from mesh.gateway.fanout.fanout import Fanout
from mesh.link import commands
from mesh.protocol import payloads
from mesh.protocol.messages import BINARY, CONTROL, JSON, MSGPACK, check_event
from mesh.protocol.serializers.registry import BY_NAME
from mesh.telemetry import Complaints, counters
from tests.support.hub import WORKER, Gateway, scenario_with

DEEP = b"[" * 10_000 + b"]" * 10_000
NOT_JSON = {
    "nothing": b"",
    "blanks": b"  ",
    "cut": b'{"n":',
    "no JSON": b"{not json",
    "more behind it": b"{} {}",
    "no UTF-8": b'{"a":"\xff"}',
    "a surrogate in UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a key that is no UTF-8": b'{"\xff":1}',
    "an unknown escape": b'{"a":"\\x"}',
    "half an escape": b'{"a":"\\u12"}',
    "a lone surrogate": b'{"a":"\\ud800 and more"}',
    "a control character": b'{"a":"\x01"}',
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "a leading zero": b'{"a":01}',
    "half a number": b'{"a":1.}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a comma too many": b'{"a":1,}',
    "too deep": DEEP,
}
NOT_MSGPACK = {
    "nothing": b"",
    "cut": b"\x81\xa1",
    "more behind it": b"\x80\x80",
    "no UTF-8": b"\x81\xa1a\xa1\xff",
    "a broken timestamp": b"\xd4\xff\x01",
    "a map as a key": b"\x81\x80\x02",
    "an unused byte": b"\xc1",
    "a length without content": b"\xdd\xff\xff\xff\xff",
    "too deep": b"\x91" * 10_000 + b"\x01",
}
BAD = [(JSON, data) for data in NOT_JSON.values()] + [(MSGPACK, data) for data in NOT_MSGPACK.values()]
BAD += [(3, b"{}"), (-1, b"{}"), (2**63, b"{}")]
NAMES = [f"JSON: {each}" for each in NOT_JSON] + [f"msgpack: {each}" for each in NOT_MSGPACK]
NAMES += ["codec 3", "codec -1", "codec 2**63"]
each_bad_payload = pytest.mark.parametrize(("codec", "data"), BAD, ids=NAMES)


@each_bad_payload
def test_a_flaw_is_found(codec, data):
    assert payloads.flaw(codec, data)


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b"null",
        b' {"a" : [1.5e3, "\\ud83d\\ude00"]}\n',
        b'{"a":1,"a":2}',
        b'{"n":1e999}',
        "{'ü'}".encode(),
    ],
)
def test_json_is_no_flaw(data):
    try:
        json.loads(data)
    except ValueError:
        assert payloads.flaw(JSON, data)
    else:
        assert payloads.flaw(JSON, data) is None
    assert payloads.flaw(BINARY, data) is None


def test_what_our_encoder_writes_is_no_flaw():
    deep = 1
    for _ in range(600):
        deep = [deep]
    for payload in ({}, {"a": "ü\ud7ff\x00"}, {"deep": deep}, {"n": float("nan")}, {"n": 10**30}):
        assert payloads.flaw(*payloads.encode(payload)) is None


def joined(gateway, serializer="v2_json"):
    gateway.client.session.serializer = BY_NAME[serializer]
    gateway.client.encoding.ready = lambda frame: frame.data if frame.binary else json.loads(frame.data)
    if serializer == "v1_json":
        gateway.hub.received(
            gateway.client, b'{"topic":"room:1","event":"phx_join","payload":{},"ref":"1"}', False
        )
    else:
        gateway.say("1", "1", "room:1", "phx_join", {})
    return gateway.workers.sent[-1].channel


def pushed(gateway, number):
    """One good push, last: everything before it has been handled, and the channel is as it was."""
    gateway.hear(commands.Pushed(number, 0, "good", JSON, b"{}"))
    assert gateway.client.outbox[-1][1:] in ([None, "room:1", "good", {}],)
    assert not gateway.client.transport.closed


@each_bad_payload
def test_a_bad_reply_becomes_an_error(codec, data):
    @scenario_with(Gateway)
    def scenario(gateway):
        number = joined(gateway)
        gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
        before = counters.value("worker_payloads_malformed") + counters.value("replies_unencodable")
        gateway.hear(commands.Reply(number, 0, "7", "ok", codec, data))
        answer = {"status": "error", "response": {"reason": "invalid reply"}}
        assert gateway.client.outbox[-1] == ["1", "7", "room:1", "phx_reply", answer]
        after = counters.value("worker_payloads_malformed") + counters.value("replies_unencodable")
        assert after == before + 1
        pushed(gateway, number)

    scenario()


@each_bad_payload
def test_a_bad_push_is_dropped(codec, data):
    @scenario_with(Gateway)
    def scenario(gateway):
        number = joined(gateway)
        gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
        heard = len(gateway.client.outbox)
        gateway.hear(commands.Pushed(number, 0, "e", codec, data))
        gateway.hear(commands.Broadcast("room:1", 0, "e", codec, data))
        assert len(gateway.client.outbox) == heard
        pushed(gateway, number)

    scenario()


@each_bad_payload
def test_a_join_that_is_answered_badly_has_crashed(codec, data):
    for answer in (commands.Joined, commands.Refused):

        @scenario_with(Gateway)
        def scenario(gateway, answer=answer):
            number = joined(gateway)
            if answer is commands.Joined:
                gateway.hear(commands.Joined(number, (), 0, codec, data))
                assert gateway.workers.sent[-1] == commands.SocketDown([number], "closed")
            else:
                gateway.hear(commands.Refused(number, codec, data))
            crashed = {"status": "error", "response": {"reason": "join crashed"}}
            assert gateway.client.outbox == [["1", "1", "room:1", "phx_reply", crashed]]
            assert not gateway.client.session.channels
            assert gateway.hub.counts()[1] == 0
            assert not gateway.client.transport.closed

        scenario()


def sent_every_way(gateway, event):
    """Send a joined client an event over the bus and by two commands of its worker.

    Returns its channel's number, the messages that it had before, and how many of these three were malformed.
    """
    number = joined(gateway)
    gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
    heard = len(gateway.client.outbox)
    names = {"bus": "bus_messages_malformed", "worker": "worker_payloads_malformed"}
    before = {part: counters.value(name) for part, name in names.items()}
    gateway.broadcast(1, event)
    gateway.hear(commands.Pushed(number, 0, event, JSON, b"{}"))
    gateway.hear(commands.Broadcast("room:1", 0, event, JSON, b"{}"))
    return number, heard, {part: counters.value(name) - before[part] for part, name in names.items()}


@pytest.mark.parametrize("event", ["e" * 4_097, "\u00e9" * 2_049, "\U0001f600" * 1_025])
def test_events_over_the_limit_are_not_passed_on(event):
    @scenario_with(Gateway)
    def scenario(gateway):
        number, heard, malformed = sent_every_way(gateway, event)
        assert len(gateway.client.outbox) == heard
        assert malformed == {"bus": 1, "worker": 2}
        gateway.broadcast(2, "e" * 4_096)
        assert len(gateway.client.outbox) == heard + 1
        pushed(gateway, number)

    scenario()


@pytest.mark.parametrize("data", [b"[1]", b"null", b'"text"', b"7"])
def test_the_payload_of_a_broadcast_may_be_any_json_value(data):
    @scenario_with(Gateway)
    def scenario(gateway):
        number = joined(gateway)
        gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
        gateway.client.outbox.clear()
        gateway.hub.fanout.deliver("room:1", Received(VERSION, BROADCAST, "p", 1, "e", JSON, None), data)
        assert gateway.client.outbox == [[None, None, "room:1", "e", json.loads(data)]]

    scenario()


@pytest.mark.parametrize("event", sorted(CONTROL))
def test_events_of_the_protocol_are_not_passed_on(event):
    @scenario_with(Gateway)
    def scenario(gateway):
        number, heard, malformed = sent_every_way(gateway, event)
        assert malformed["bus"] == 1
        assert len(gateway.client.outbox) == heard
        pushed(gateway, number)

    scenario()
    with pytest.raises(ChannelError, match=f"event '{event}' is reserved by the protocol"):
        check_event(event)


@each_bad_payload
def test_a_bad_broadcast_is_dropped_and_accounted_for(codec, data):
    @scenario_with(Gateway)
    def scenario(gateway):
        number = joined(gateway)
        gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
        fanout: Fanout = gateway.hub.fanout
        heard = len(gateway.client.outbox)
        fanout.deliver("room:1", Received(VERSION, BROADCAST, "p", 1, "e", codec, None), data)
        assert len(gateway.client.outbox) == heard
        (stats,) = fanout.stats("room:1")
        assert (stats.expected, sum(stats.dropped.values()), stats.delivered) == (1, 1, 0)
        pushed(gateway, number)

    scenario()


@scenario_with(Gateway)
def test_bytes_for_a_client_that_cannot_get_them(gateway):
    number = joined(gateway, "v1_json")
    gateway.hear(commands.Joined(number, (), 0, BINARY, b"\x01"))
    answer = gateway.client.outbox[-1]
    assert answer["payload"] == {"status": "error", "response": {"reason": "join crashed"}}
    assert not gateway.client.session.channels


@pytest.mark.parametrize("ref", [b"bytes", {"a": 1}, [1], 1.5, True, 2**64 - 1, "x" * 1_000])
def test_a_ref_that_nobody_sent_costs_nobody(ref):
    @scenario_with(Gateway)
    def scenario(gateway):
        number = joined(gateway)
        gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
        gateway.hear(commands.Reply(number, 0, ref, "ok", JSON, b"{}"))
        pushed(gateway, number)

    scenario()


@scenario_with(Gateway)
def test_a_ref_that_json_cannot_express_is_dropped(gateway):
    number = joined(gateway)
    gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
    heard = len(gateway.client.outbox)
    gateway.hear(commands.Reply(number, 0, {(1, 2): 3}, "ok", JSON, b"{}"))
    assert len(gateway.client.outbox) == heard
    pushed(gateway, number)


@scenario_with(Gateway)
def test_a_name_too_long_for_a_binary_frame(gateway):
    number = joined(gateway)
    gateway.hear(commands.Joined(number, (), 0, JSON, b"{}"))
    gateway.hear(commands.Reply(number, 0, "7", "x" * 256, BINARY, b"\x01"))
    assert gateway.client.outbox[-1][4]["status"] == "error"
    heard = len(gateway.client.outbox)
    gateway.hear(commands.Pushed(number, 0, "x" * 256, BINARY, b"\x01"))
    assert len(gateway.client.outbox) == heard
    pushed(gateway, number)


def test_an_application_hears_of_bytes_that_it_has_encoded_itself():
    import msgspec

    assert payloads.encode(msgspec.Raw(b'{"a":1}')) == (JSON, b'{"a":1}')
    with pytest.raises(PayloadError, match="not JSON"):
        payloads.encode(msgspec.Raw(b"{not json"))


class Log:
    def __init__(self):
        self.lines = []

    def warning(self, line, **fields):
        self.lines.append((line, fields))


def test_complaints_are_few():
    log = Log()
    complaints = Complaints(log, "dropped")
    for _ in range(1_000):
        complaints.about("a", "bus_messages_malformed", "bad", topic="x" * 1_000_000)
    assert [fields["times"] for _, fields in log.lines] == [1, 10, 100, 1_000]
    assert all(len(str(fields)) < 1_000 for _, fields in log.lines)
    for n in range(100_000):
        complaints.about(f"origin-{n}", "bus_messages_malformed", "bad")
    assert len(log.lines) < 300
    # Private: how many peers are remembered shows in memory only.
    assert WORKER not in complaints._times
