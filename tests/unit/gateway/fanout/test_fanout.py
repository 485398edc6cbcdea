"""gateway/fanout/fanout.py: who gets a broadcast, and when."""

from types import SimpleNamespace

from mesh.app.channel import Channel
from mesh.app.routes import Route
from mesh.bus.frames import BROADCAST, VERSION, Received
from mesh.gateway.channels.gateway_channel import GatewayChannel
from mesh.gateway.fanout.fanout import Fanout
from mesh.gateway.transports.base import Encoding
from mesh.protocol.messages import BINARY, JSON, Message, Sender
from mesh.protocol.serializers.v1_json import V1JSON
from mesh.protocol.serializers.v2_json import V2JSON
from mesh.telemetry import counters
from tests.support.gateway_channels import place

V2 = Encoding(V2JSON(), lambda frame: frame.data)
V1 = Encoding(V1JSON(), lambda frame: frame.data)
ROUTE = Route("room:*", Channel)


class Outbox(list):
    send = list.append


def channel(number, encoding=V2, intercepts=(), since=0):
    client = SimpleNamespace(encoding=encoding, outbox=Outbox(), transport=SimpleNamespace(slow=[]))
    client.transport.close_slow = client.transport.slow.append
    state = GatewayChannel(number, ROUTE, Message("1", "1", "room:1", "phx_join", JSON, b"{}"), client)
    place(state)
    state.intercepts = frozenset(intercepts)
    state.since = since
    return state


def joined(fanout, *args, **kwargs):
    state = channel(*args, **kwargs)
    fanout.hold(state)
    assert fanout.release(state, 0)
    return state


def header(sequence=1, event="e", origin="w", sender=None, codec=JSON):
    return Received(VERSION, BROADCAST, origin, sequence, event, codec, sender)


def test_members_of_the_topic_get_the_same_bytes_object_per_serializer():
    fanout = Fanout("g")
    one, two, old = joined(fanout, 1), joined(fanout, 2), joined(fanout, 3, V1)
    for sequence in (1, 2):
        fanout.deliver("room:1", header(sequence), b'{"a":1}')
    assert one.client.outbox == [b'[null,null,"room:1","e",{"a":1}]'] * 2
    assert one.client.outbox[1] is two.client.outbox[1]
    assert old.client.outbox[0] == b'{"topic":"room:1","event":"e","payload":{"a":1},"ref":null}'


def test_the_sender_of_broadcast_from_is_skipped_on_its_own_gateway_only():
    for deliveries in (1, 2):  # the first finds the channel among the careful, the second not
        fanout = Fanout("g")
        one, two = joined(fanout, 1), joined(fanout, 2)
        if deliveries == 2:
            fanout.deliver("room:1", header(1), b"{}")
        fanout.deliver("room:1", header(2, sender=Sender("g", 1, True)), b"{}")
        fanout.deliver("room:1", header(3, sender=Sender("other", 1, True)), b"{}")
        assert len(one.client.outbox) == deliveries
        assert len(two.client.outbox) == deliveries + 1


def test_an_intercepted_event_does_not_reach_the_client_directly():
    fanout = Fanout("g")
    one = joined(fanout, 1, intercepts=["secret"])
    for sequence in (1, 2, 3):
        fanout.deliver("room:1", header(sequence, "secret"), b"{}")
        fanout.deliver("room:1", header(sequence + 10, "open"), b"{}")
    assert len(one.client.outbox) == 3


def test_broadcasts_are_held_while_a_join_is_pending_and_delivered_in_order():
    fanout = Fanout("g")
    state = channel(1)
    assert fanout.hold(state)
    for sequence in (1, 2, 3):
        fanout.deliver("room:1", header(sequence), b'{"n":%d}' % sequence)
    assert state.client.outbox == []
    assert fanout.release(state, 0)
    assert [each[-2:-1] for each in state.client.outbox] == [b"}"] * 3
    assert state.client.outbox == [b'[null,null,"room:1","e",{"n":%d}]' % n for n in (1, 2, 3)]


def test_a_refused_join_drops_the_broadcasts_held_for_it():
    fanout = Fanout("g")
    state = channel(1)
    fanout.hold(state)
    fanout.deliver("room:1", header(), b"{}")
    assert fanout.drop(state)
    assert state.client.outbox == []
    assert "room:1" not in fanout


def test_what_the_worker_broadcast_before_the_join_returned_is_not_for_the_channel():
    fanout = Fanout("g")
    state = channel(1, since=5)
    fanout.hold(state)
    fanout.deliver("room:1", header(4), b"{}")
    fanout.deliver("room:1", header(4, origin="elsewhere"), b"{}")
    assert fanout.release(state, 0)
    fanout.deliver("room:1", header(5), b"{}")
    assert len(state.client.outbox) == 1
    fanout.deliver("room:1", header(6), b"{}")
    fanout.deliver("room:1", header(7), b"{}")
    assert len(state.client.outbox) == 3


def test_the_last_to_leave_ends_the_topic():
    fanout = Fanout("g")
    one, two = joined(fanout, 1), joined(fanout, 2)
    fanout.deliver("room:1", header(1), b"{}")
    assert not fanout.drop(one)
    assert fanout.drop(two)
    assert not fanout.drop(two)
    fanout.deliver("room:1", header(2), b"{}")
    assert len(one.client.outbox) == 1


def test_bytes_are_skipped_for_clients_that_cannot_carry_them_and_reach_the_others():
    fanout = Fanout("g")
    new, old = joined(fanout, 1), joined(fanout, 2, V1)
    for sequence in (1, 2):
        fanout.deliver("room:1", header(sequence, codec=BINARY), b"\x00")
    assert len(new.client.outbox) == 2
    assert old.client.outbox == []


def test_a_client_for_whose_join_too_much_is_held_is_closed():
    fanout = Fanout("g", max_held=2)
    state = channel(1)
    fanout.hold(state)
    for sequence in (1, 2, 3):
        fanout.deliver("room:1", header(sequence), b"{}")
    assert state.client.transport.slow == [3 * len(b"{}")]


def test_large_broadcasts_held_for_a_join_count_by_their_bytes():
    fanout = Fanout("g", max_held_bytes=250)
    state = channel(1)
    fanout.hold(state)
    large = b'"' + b"x" * 98 + b'"'
    fanout.deliver("room:1", header(1), large)
    fanout.deliver("room:1", header(2, sender=Sender("g", 1, False, 7)), large)
    assert not fanout.release(state, 0)  # the first waits no longer
    fanout.deliver("room:1", header(3), large)
    assert state.client.transport.slow == []
    fanout.deliver("room:1", header(4), large)
    assert state.client.transport.slow == [300]
    assert len(state.client.outbox) == 1


def test_a_channels_own_broadcast_waits_for_the_commands_before_it_and_others_wait_behind_it():
    fanout = Fanout("g")
    one, two = joined(fanout, 1), joined(fanout, 2)
    fanout.hold(one)
    fanout.deliver("room:1", header(1), b"{}")
    fanout.deliver("room:1", header(2, sender=Sender("g", 1, False, 7)), b"{}")
    fanout.deliver("room:1", header(3), b"{}")
    fanout.deliver("room:1", header(4, sender=Sender("g", 1, False, 9)), b"{}")
    assert len(two.client.outbox) == 4
    assert not fanout.release(one, 6)
    assert len(one.client.outbox) == 1
    assert not fanout.release(one, 8)
    assert len(one.client.outbox) == 3
    assert fanout.release(one, 9)
    fanout.deliver("room:1", header(5), b"{}")
    assert one.client.outbox == two.client.outbox


def test_a_broadcast_that_is_not_utf8_reaches_nobody_whose_connection_it_would_end():
    fanout = Fanout("g")
    one = joined(fanout, 1)
    before = counters.value("bus_messages_malformed")
    fanout.deliver("room:1", header(1), b'{"a":"\xe4"}')
    fanout.deliver("room:1", header(2), '{"a":"ä"}'.encode())
    assert one.client.outbox == ['[null,null,"room:1","e",{"a":"ä"}]'.encode()]
    assert counters.value("bus_messages_malformed") == before + 1
