"""clients/c against real gateways: a conversation, refusals, ends, time-outs and CURVE."""

import time

import pytest
import zmq

from tests.support.c_client import (
    CLOSED,
    ENDED,
    ERROR,
    EXISTS,
    INVALID,
    LOST,
    NOT_JSON,
    OK,
    REFUSED,
    TIMEOUT,
    TOO_BIG,
    driver,
)
from tests.support.fake_gateway import curve_relay
from tests.support.http import broadcast
from tests.support.pool import APPS, CONFORMANCE, zeromq
from tests.support.processes import ORDER


@pytest.fixture
def conformance(servers):
    process, url = servers(CONFORMANCE)
    return url, zeromq(process)


@pytest.fixture
def apps(servers):
    return zeromq(servers(APPS, **ORDER)[0])


def test_a_conversation(driver_program, conformance):
    url, address = conformance
    with driver(driver_program, address, params='{"user_id":"7"}', leave_refused=1) as client:
        client.opened()
        assert client.join("room:1", '{"a":1}') == ("ok", {"topic": "room:1"})
        assert client.join("room:2") == ("ok", {"topic": "room:2"})
        assert client.do("join", "room:1", "{}")[0] == EXISTS
        assert client.join("room:private") == ("error", {"reason": "unauthorized"})
        assert client.join("nope:1") == ("error", {"reason": "unmatched topic"})
        client.next("close", "room:private")
        client.next("close", "nope:1")
        for payload in ({"a": [1, "ä😀\n"]}, [1], 7, "x", True, {"x": "y" * 900_000}):
            assert client.push("room:1", "echo", payload) == (OK, "ok", payload)
        assert client.push("room:1", "fail", {}) == (ERROR, "error", {"reason": "bad"})
        client.ok("push", "room:2", "new_msg", '{"n":1}', 0)
        assert client.event("room:2", "new_msg") == {"n": 1}
        client.ok("push", "room:1", "push_me", '{"n":2}', 0)
        assert client.event("room:1", "pushed") == {"n": 2}
        client.ok("push", "room:1", "intercept_me", '{"k":1}', 0)
        assert client.event("room:1", "intercept_me") == {"k": 1, "to": "7"}
        broadcast(url, "room:1", "from_http", {"n": 3})
        assert client.event("room:1", "from_http") == {"n": 3}
        assert client.join("presence:1") == ("ok", {})
        assert list(client.event("presence:1", "presence_state")) == ["7"]
        client.ok("leave", "room:2")
        client.next("close", "room:2")
        assert client.join("room:2") == ("ok", {"topic": "room:2"})
        assert client.push("room:2", "stop", {}) == (OK, "ok", {})
        client.next("close", "room:2")
        assert client.do("push", "room:2", "echo", "{}", 0)[0] == INVALID, "the driver has forgotten it"
        assert client.reports("event").count(["room:2", "new_msg", "text", '{"n":1}']) == 1
        assert client.reports("dropped") == client.reports("end") == []


def test_bytes(driver_program, conformance):
    with driver(driver_program, conformance[1]) as client:
        client.opened()
        client.join("room:bin")
        for payload in (b"\x00\xff\x01", b"", bytes(range(256)) * 3_000):
            assert client.push("room:bin", "bin", payload) == (OK, "ok", payload)
            client.ok("bytes", "room:bin", "push_me", payload.hex(), 0)
            assert client.event("room:bin", "pushed") == payload
            client.ok("bytes", "room:bin", "new_msg", payload.hex(), 0)
            assert client.event("room:bin", "new_msg") == payload
        status, detail = client.do("bytes", "room:bin", "e" * 256, "00", 0)
        assert status == TOO_BIG
        assert "at most 255" in detail


def test_topics_and_events_in_any_script(driver_program, conformance):
    topic = 'room:"Zürich"\\ 駅 😀'
    with driver(driver_program, conformance[1]) as client:
        client.opened()
        assert client.join(topic) == ("ok", {"topic": topic})
        client.ok("push", topic, "push_me", "{}", 0)
        assert client.event(topic, "pushed") == {}
        client.ok("bytes", topic, "push_me", "00", 0)
        assert client.event(topic, "pushed") == b"\0"
        client.ok("leave", topic)
        client.next("close", topic)


def test_a_crashed_channel_joins_again_with_its_new_payload(driver_program, apps):
    with driver(driver_program, apps) as client:
        client.opened()
        client.join("after:1", '{"from":1}')
        assert client.event("after:1", "pushed_after_join") == {"from": 1}
        client.ok("payload", "after:1", '{"from":2}')
        client.join("order:1")
        started = time.monotonic()
        client.ok("push", "after:1", "no such event", "{}", 0)
        assert client.next("error", "after:1") == ["channel_crash"]
        assert client.do("push", "after:1", "x", "{}", 0)[0] == 0, "it waits for the join"
        assert client.answered("join", "after:1") == ("ok", {})
        assert time.monotonic() - started > 0.99
        assert client.event("after:1", "pushed_after_join") == {"from": 2}
        assert client.push("order:1", "both", {}) == (OK, "ok", {}), "nobody else noticed"


def test_order(driver_program, apps):
    with driver(driver_program, apps) as client:
        client.opened()
        client.join("order:1")
        for number in range(100):
            client.begin_push("order:1", "both", {"n": number}, name=f"both{number}")
            client.begin_push("order:1", "push_between", {"n": number}, name=f"between{number}")
        client.reply("between99")
        lines = [line.split("\t") for line in client.lines if line.split("\t")[0] in ("event", "reply")]
        told = [(line[1] if line[0] == "reply" else line[2], line[-1]) for line in lines]
        assert told == [
            (name, f'{{"n":{number}}}')
            for number in range(100)
            for name in ("first", f"both{number}", "one", "two", "three", f"between{number}")
        ]


def test_a_flood_waits_and_is_answered_in_order(driver_program, conformance):
    with driver(driver_program, conformance[1]) as client:
        client.opened()
        client.ok("join", "room:1", "{}")
        for number in range(3_000):
            client.write(f"push\troom:1\techo\t{number}\t0\t{number}")
        client.reply("2999")
        assert [each[0] for each in client.reports("reply")] == [str(number) for number in range(3_000)]
        assert {each[1] for each in client.reports("reply")} == {OK}


def test_a_silent_client_stays_by_its_heartbeats(driver_program, servers):
    address = zeromq(servers(CONFORMANCE, MESH_GATEWAY__IDLE_TIMEOUT_SECONDS="8")[0])
    with (
        zmq.Context() as context,
        context.socket(zmq.DEALER) as silent,
        driver(driver_program, address) as client,
    ):
        silent.setsockopt(zmq.LINGER, 0)
        silent.connect(address)
        client.opened()
        client.join("room:1")
        silent.send_multipart([b"O", b'{"path":"/socket","params":{"vsn":"2.0.0"}}'])
        while silent.recv_multipart()[0] != b"C":  # it says nothing, and is closed
            pass
        assert client.push("room:1", "echo", {}) == (OK, "ok", {})
        assert client.reports("end") == client.reports("error") == []


def test_a_refused_client_is_told_why_and_asks_again_with_what_it_then_has(driver_program, conformance):
    with driver(driver_program, conformance[1], params='{"token":"bad"}') as client:
        client.ok("join", "room:1", "{}")
        client.ok("connect")
        for milliseconds in ("10", "50", "100"):
            kind, code, reason, retry = client.next("end")
            assert (kind, code, retry) == (REFUSED, "403", milliseconds)
            assert reason == "refused"
        assert client.do("params", '{"token":')[0] == NOT_JSON
        client.ok("params", '{"token":"good"}')
        client.next("open")
        assert client.answered("join", "room:1") == ("ok", {"topic": "room:1"})


@pytest.mark.parametrize(
    ("options", "code", "reason"),
    [
        ({"path": "/nowhere"}, "404", "no socket at '/nowhere'"),
        ({"params": '{"connect":"raise"}'}, "500", "connect raised"),
        ({"params": '{"vsn":"3.0.0","connect":"false"}'}, "403", "refused"),
    ],
)
def test_who_is_refused_learns_code_and_reason(driver_program, apps, options, code, reason):
    with driver(driver_program, apps, **options) as client:
        client.ok("connect")
        assert client.next("end")[:3] == [REFUSED, code, reason]
        client.ok("disconnect")
        client.ok("connect")
        assert client.next("end")[:3] == [REFUSED, code, reason]


def test_a_disconnect_of_the_user_and_a_goodbye_of_ones_own(driver_program, conformance):
    url, address = conformance
    with driver(driver_program, address, params='{"user_id":"9"}') as client:
        client.opened()
        client.join("room:1")
        broadcast(url, "users:9", "disconnect", {})
        assert client.next("end")[:2] == [ENDED, "1001"]
        client.next("error", "room:1")
        client.next("open")
        assert client.answered("join", "room:1")[0] == "ok"
        client.ok("disconnect")
        assert client.do("disconnect") == (0, "")
        client.begin_push("room:1", "echo", 1)
        client.ok("connect")
        client.next("open")
        assert client.answered("join", "room:1")[0] == "ok"
        assert client.reply() == (OK, "ok", 1)
        assert len(client.reports("end")) == 1


def test_goodbye_ends_the_channels_in_the_server_at_once(driver_program, apps):
    with driver(driver_program, apps) as watcher, driver(driver_program, apps) as client:
        watcher.opened()
        watcher.join("watch:ends")
        client.opened()
        client.join("info:gone")
        client.ok("disconnect")
        assert watcher.event("watch:ends", "ended") == {"topic": "info:gone", "reason": "closed"}


def test_a_push_that_is_not_answered_times_out(driver_program, conformance):
    with driver(driver_program, conformance[1]) as client:
        client.opened()
        client.join("room:1")
        assert client.push("room:1", "noreply", {}, timeout=110) == (TIMEOUT, "timeout", {})
        client.begin_push("room:1", "noreply", {}, name="open")
        client.ok("leave", "room:1")
        assert client.reply("open") == (CLOSED, "closed", {})


def test_a_reply_after_the_time_out_comes_to_nobody(driver_program, apps):
    with driver(driver_program, apps) as client:
        client.opened()
        client.join("slow:1")
        assert client.push("slow:1", "slow", {"seconds": 5}, timeout=20, name="late")[0] == TIMEOUT
        assert client.push("slow:1", "echo", {}, name="next")[0] == OK, "behind the late one"
        assert [each[0] for each in client.reports("reply")] == ["late", "next"]


def test_curve(driver_program, conformance):
    server, other, own = zmq.curve_keypair(), zmq.curve_keypair(), zmq.curve_keypair()
    key, own_key = server[0].decode(), {"public_key": own[0].decode(), "secret_key": own[1].decode()}
    with curve_relay(conformance[1], server) as address:
        with driver(driver_program, address, server_key=key) as client:
            client.opened()
            assert client.join("room:1") == ("ok", {"topic": "room:1"})
            assert client.push("room:1", "echo", "secret") == (OK, "ok", "secret")
        with driver(driver_program, address, server_key=other[0].decode()) as client:
            client.ok("connect")
            assert client.next("end")[0] == LOST
            assert client.reports("open") == []
        with driver(driver_program, address) as client:
            client.ok("connect")
            assert client.next("end")[0] == LOST
    with curve_relay(conformance[1], server, allowed=own[0]) as address:
        with driver(driver_program, address, server_key=key, **own_key) as client:
            client.opened()
            assert client.join("room:1")[0] == "ok"
        with driver(driver_program, address, server_key=key) as client:
            client.ok("connect")
            kind, _, reason, _ = client.next("end")
            assert (kind, "key" in reason) == (LOST, True)
