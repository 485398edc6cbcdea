"""ChannelCase: how channels and sockets end, and what happens afterwards."""

import pytest

from mesh.errors import ApplicationError
from mesh.testing import ChannelCase
from tests.unit.mesh.testing.case_app import endpoint


def test_each_end_has_its_reason(channel_case):
    channel_case.subscribe("ends")
    socket = channel_case.connect()

    def ended(reason):
        channel_case.assert_broadcast("ended", {"reason": reason})

    left = socket.join("room:1")
    left.assert_reply(left.leave())
    left.assert_closed()
    ended("left")
    closed = socket.join("room:1")
    closed.close()
    ended("closed")
    stopped = socket.join("room:1")
    stopped.assert_reply(stopped.push("stop"), payload={"bye": True})
    stopped.assert_closed()
    ended("normal")
    crashed = socket.join("room:1")
    crashed.push("unencodable")
    crashed.assert_crashed()
    crashed = socket.join("room:1")
    crashed.push("unknown event")
    crashed.assert_crashed()
    old = socket.join("room:2")
    socket.join("room:2")
    old.assert_closed()
    ended("duplicate_join")
    socket.disconnect("disconnected")
    ended("disconnected")


def test_a_channel_that_crashes_after_its_join_can_be_inspected(channel_case):
    room = channel_case.connect().join("room:1", {"die": True})
    assert room.channel.assigns["user"] == "ana"
    assert str(room.assert_crashed()) == "died after the join"


def test_a_disconnected_socket_receives_nothing(channel_case):
    ana, bo = (channel_case.connect({"user": user}) for user in ("ana", "bo"))
    rooms = [socket.join("room:1") for socket in (ana, bo)]
    bo.disconnect()
    assert (ana.connected, bo.connected) == (True, False)
    rooms[0].push("shout", {})
    rooms[0].assert_push("shout")
    rooms[1].refute_push("shout")
    assert rooms[1].assert_closed() == "closed"
    with pytest.raises(ApplicationError, match="is disconnected"):
        bo.join("room:1")
    bo.disconnect()


def test_a_channel_that_has_ended_answers_as_in_production(room):
    room.assert_reply(room.leave())
    assert room.assert_closed() == "left"
    room.assert_reply(room.push("ping"), "error", {"reason": "unmatched topic"})
    room.assert_reply(room.leave(), "ok", {})
    room.close()


def test_the_application_disconnects_by_id(channel_case):
    ana, bo = (channel_case.connect({"user": user}) for user in ("ana", "bo"))
    rooms = [socket.join("room:1") for socket in (ana, bo)]
    rooms[1].push("throw out", {"id": "users:ana"})
    assert rooms[0].assert_closed() == "disconnected"
    assert (ana.connected, bo.connected) == (False, True)


def test_close_waits_for_terminate_and_kills_callbacks_that_hang(channel_case):
    channel_case.subscribe("ends")
    room = channel_case.connect().join("room:1")
    room.close()
    channel_case.assert_broadcast("ended", {"reason": "closed"}, timeout_seconds=0)
    for stuck in ({"callback": True}, {"terminate": True}):
        room = channel_case.connect().join("room:1", {"stuck": stuck})
        room.push("slow", {"seconds": 30 if "callback" in stuck else 0})
        room.close(timeout_seconds=0.02)
        with pytest.raises(AssertionError, match="was killed"):
            room.assert_closed()


def test_close_stops_the_endpoint():
    case = ChannelCase(endpoint)
    case.connect().join("room:1")
    case.close()
    case.close()
    with pytest.raises(ApplicationError):
        endpoint.broadcast("room:1", "x", {})
