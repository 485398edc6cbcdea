"""clients/c against a gateway that is late, silent, forgetful or sends garbage."""

import json
import random
from pathlib import Path

import pytest

from tests.support.c_client import ENDED, FULL, LOST, OK, REFUSED, TIMEOUT, TOO_BIG, driver
from tests.support.fake_gateway import FakeGateway
from tests.support.mutations import mutated
from tests.support.until import until_sync


@pytest.fixture
def gateway():
    made = FakeGateway()
    yield made
    made.close()


def test_what_timed_out_in_the_buffer_is_not_sent(driver_program, gateway):
    with driver(driver_program, gateway.address) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        join = gateway.message()
        client.begin_push("room:1", "early", {}, timeout=20, name="early")
        client.begin_push("room:1", "good", {"n": 1}, name="good")
        assert client.reply("early")[0] == TIMEOUT
        gateway.reply(join)
        push = gateway.message()
        assert push[0] == join[0]
        assert push[2:] == ["room:1", "good", {"n": 1}]
        gateway.reply(push)
        assert client.reply("good")[0] == OK


def test_a_join_without_an_answer_is_left_and_tried_again_and_its_late_answer_ignored(
    driver_program, gateway
):
    with driver(driver_program, gateway.address, timeout_ms=3000) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", '{"a":1}')
        first = gateway.message()
        assert first[2:] == ["room:1", "phx_join", {"a": 1}]
        assert first[0] == first[1]
        assert client.answered("join", "room:1") == ("timeout", {})
        leave = gateway.message()
        assert (leave[0], leave[3]) == (first[0], "phx_leave")
        second = gateway.message()
        assert second[3] == "phx_join"
        assert int(second[0]) > int(first[0])
        gateway.reply(first, "ok", {"late": True})
        gateway.say(first[0], first[0], "room:1", "phx_close", {})
        gateway.say(first[0], first[0], "room:1", "phx_error", {})
        gateway.say(first[0], None, "room:1", "stale", {})
        gateway.reply(second, "ok", {"late": False})
        assert client.answered("join", "room:1") == ("ok", {"late": False})
        gateway.say(second[0], None, "room:1", "fresh", {})
        client.event("room:1", "fresh")
        assert [each[1] for each in client.reports("event")] == ["fresh"]
        assert client.reports("close") == client.reports("error") == []


def test_stale_replies_to_pushes_are_ignored(driver_program, gateway):
    with driver(driver_program, gateway.address) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        join = gateway.joined()
        client.begin_push("room:1", "e", {}, timeout=600_000)
        push = gateway.message()
        gateway.reply(["999", *push[1:]], "ok", {"of": "another join"})
        gateway.reply([push[0], push[1], "room:2"], "ok", {"of": "another topic"})
        gateway.reply([*push[:1], "77", "room:1"], "ok", {"of": "another push"})
        gateway.reply(push, "maybe", {"n": 1})
        assert client.reply() == ("3", "maybe", {"n": 1})
        gateway.reply(push, "ok", {"of": "the same again"})
        gateway.say(None, None, "room:1", "seen", {})
        client.event("room:1", "seen")
        assert len(client.reports("reply")) == 1
        gateway.say(join[0], join[0], "room:1", "phx_close", {})
        client.next("close", "room:1")


def test_a_refused_join_asks_again_until_it_is_left(driver_program, gateway):
    with driver(driver_program, gateway.address) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        for _ in range(2):
            gateway.reply(gateway.message(), "error", {"reason": "full"})
            assert client.answered("join", "room:1") == ("error", {"reason": "full"})
        client.ok("leave", "room:1")
        client.next("close", "room:1")


def test_leaving_waits_for_the_answer_but_not_for_ever(driver_program, gateway):
    with driver(driver_program, gateway.address, timeout_ms=5000) as client:
        client.ok("connect")
        gateway.opened()
        for topic in ("room:1", "room:2"):
            client.ok("join", topic, "{}")
            gateway.joined()
            client.next("join", topic, "ok")
        client.ok("leave", "room:1")
        leave = gateway.message()
        assert leave[3] == "phx_leave"
        client.ok("join", "room:1", "{}")  # a new one, at once
        join = gateway.message()
        gateway.say(None, None, "room:1", "too late", {})
        gateway.reply(leave)
        client.next("close", "room:1")
        gateway.reply(join)
        client.next("join", "room:1", "ok")
        assert client.next("event") == ["room:1", "too late", "text", "{}"]
        assert len(client.reports("event")) == 1, "for the new one alone"
        client.ok("leave", "room:2")
        client.next("close", "room:2")


def test_a_gateway_without_a_sign_of_life_is_left(driver_program, gateway):
    with driver(driver_program, gateway.address, heartbeat_ms=2000) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        gateway.joined()
        client.next("join", "room:1", "ok")
        for _ in range(3):
            gateway.recv(b"P")
            gateway.send(b"P", b"")
        assert client.reports("end") == []
        assert client.next("end")[:3] == [LOST, "0", "no sign of life within 2000 ms"]
        gateway.opened()
        client.next("open")
        assert gateway.joined()[2] == "room:1"
        client.next("join", "room:1", "ok")


def test_a_gateway_that_lets_nobody_in_is_asked_again(driver_program, gateway):
    with driver(driver_program, gateway.address, timeout_ms=2000) as client:
        client.ok("connect")
        assert client.next("end") == [LOST, "0", "no answer within 2000 ms", "10"]
        first = gateway.recv(b"O")
        assert gateway.recv(b"O") == first
        client.ok("disconnect")


def test_a_gateway_that_has_forgotten_the_client_is_opened_again(driver_program, gateway):
    with driver(driver_program, gateway.address) as client:
        client.ok("connect")
        assert gateway.opened() == {"path": "/socket", "params": {"vsn": "2.0.0"}}
        client.ok("join", "room:1", "{}")
        gateway.joined()
        client.next("join", "room:1", "ok")
        client.ok("push", "room:1", "hello", "{}", 0)
        gateway.message()
        gateway.send(b"C", b'{"code":4000,"reason":"this gateway does not know you; open first"}')
        assert client.next("end")[:2] == [ENDED, "4000"]
        client.next("error", "room:1")
        gateway.opened()
        assert gateway.joined()[2] == "room:1"
        client.next("join", "room:1", "ok")


def test_garbage_is_dropped_and_told_and_the_conversation_goes_on(driver_program, gateway):
    chance = random.Random(seed := random.randrange(1 << 30))
    print("seed", seed)
    good = [
        b'["1",null,"room:1","event",{"a":[1,2,{"b":"\\u00e4"}]}]',
        b'["1","5","room:1","phx_reply",{"status":"ok","response":{}}]',
        b'[null,null,"room:1","event",{}]',
    ]
    with driver(driver_program, gateway.address) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        gateway.joined()
        client.next("join", "room:1", "ok")
        for frames in (
            [b""],
            [b"X", b""],
            [b"TT", b"{}"],
            [b"T"],
            [b"T", b"[]", b"[]"],
            [b"B", b"\x05"],
            [b"T", b"\xff"],
        ):
            gateway.send(*frames)
            client.next("dropped")
        for _ in range(500):
            kind = chance.choice([b"T", b"T", b"B", b"P", b"O", b"Q"])
            gateway.send(kind, mutated(chance, chance.choice([*good, b"\x02\x06\x05room:1eventdata"])))
        gateway.say(None, None, "room:2", "other", {})
        gateway.say("1", None, "room:1", "end of garbage", {})
        client.event("room:1", "end of garbage")
        assert client.reports("end") == []


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b'{"code":1e99,"reason":7}', b'{"code":-1,"reason":"\\u0000"}', b"\xff"]
)
def test_an_end_without_sense_is_an_end(driver_program, gateway, content):
    with driver(driver_program, gateway.address) as client:
        client.ok("connect")
        gateway.opened()
        client.next("open")
        gateway.send(b"C", content)
        assert client.next("end")[:3] == [ENDED, "0", "closed"]
        gateway.recv(b"O")
        gateway.send(b"R", content)
        assert client.next("end")[:3] == [REFUSED, "0", "refused"]


def ended_at_both_sides(port):
    """Whether no program holds a connection to that port any more."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return not any(line[2].endswith(f":{port:04X}") and line[3] in ("01", "08") for line in lines)


def test_the_last_words_of_a_gateway_are_heard_by_a_busy_client(driver_program):
    gateway = FakeGateway()
    with driver(driver_program, gateway.address) as client:
        try:
            client.ok("connect")
            gateway.opened()
            client.ok("join", "room:1", "{}")
            join = gateway.joined()
            client.next("join", "room:1", "ok")
            client.ok("hold")
            for number in range(50):
                gateway.say(None, None, "room:1", "event", number)
            gateway.say(join[0], None, "room:1", "last", {})
            gateway.send(b"C", b'{"code":1012,"reason":"stops"}')
            gateway.socket.close(10_000)
        finally:
            gateway.context.term()
        until_sync(lambda: ended_at_both_sides(int(gateway.address.rpartition(":")[2])))
        client.do("go on")
        client.event("room:1", "last")
        assert client.next("end")[:3] == [ENDED, "1012", "stops"]
        assert len(client.reports("event")) == 51


def test_bounds_are_kept(driver_program, gateway):
    limits = {
        "max_receive_bytes": 10_000,
        "max_send_bytes": 1_000,
        "max_pushes": 2,
        "max_buffered_bytes": 100_000,
    }
    with driver(driver_program, gateway.address, **limits) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        gateway.joined()
        client.next("join", "room:1", "ok")
        status, detail = client.do("push", "room:1", "e", json.dumps("x" * 1_000), 0)
        assert (status, "max_send_bytes is 1000" in detail) == (TOO_BIG, True)
        for name in ("a", "b"):
            client.begin_push("room:1", "e", {}, name=name)
        status, detail = client.do("push", "room:1", "e", "{}", 0, "c")
        assert (status, "max_pushes is 2" in detail) == (FULL, True)
        gateway.say(None, None, "room:1", "big", "x" * 9_000)
        client.event("room:1", "big")
        gateway.say(None, None, "room:1", "too big", "x" * 10_000)
        assert client.next("end")[:2] == [LOST, "0"]


def test_what_the_gateway_does_not_take_waits_within_the_bound(driver_program):
    gateway = FakeGateway(RCVHWM=1)
    try:
        with driver(
            driver_program, gateway.address, max_buffered_bytes=2_000_000, max_pushes=100_000
        ) as client:
            client.ok("connect")
            gateway.opened()
            client.ok("join", "room:1", "{}")
            gateway.joined()
            client.next("join", "room:1", "ok")
            payload, sent = json.dumps("x" * 50_000), 0
            while client.do("push", "room:1", f"e{sent}", payload, 600_000)[0] == 0:
                sent += 1
            assert "max_buffered_bytes is 2000000" in client.lines[-1]
            assert [gateway.message()[3] for _ in range(sent)] == [f"e{number}" for number in range(sent)]
            assert client.do("push", "room:1", "again", payload, 600_000)[0] == 0
            assert gateway.message()[3] == "again"
            assert client.reports("end") == []
    finally:
        gateway.close()
