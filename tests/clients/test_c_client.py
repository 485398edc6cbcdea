"""clients/c: compiled with the sanitizers, alone, against real gateways, and against one that misbehaves."""

import json
import random
import signal
import struct
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
import zmq

from tests.support.c_client import (
    CLIENT,
    CLOSED,
    ENDED,
    ERROR,
    LOST,
    OK,
    PROGRAMS,
    REFUSED,
    TIMEOUT,
    Program,
    compile_c,
    driver,
)
from tests.support.fake_gateway import FakeGateway, curve_relay
from tests.support.http import broadcast
from tests.support.processes import ORDER, ROOT, cluster, serve
from tests.support.proxy import free_address
from tests.support.until import LONG, PATIENCE, until_sync

LIBRARY = CLIENT / "channelmesh.c"
INVALID, STATE, EXISTS, FULL, TOO_BIG, NOT_JSON = -1, -3, -7, -9, -10, -11


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return tmp_path_factory.mktemp("c")


@pytest.fixture(scope="module")
def program(build):
    """The driver."""
    return compile_c(build, "driver", PROGRAMS / "driver.c", LIBRARY)


@pytest.fixture(scope="module")
def chat(build):
    """The example."""
    return compile_c(build, "chat", CLIENT / "chat.c", LIBRARY)


@pytest.fixture(scope="module")
def conformance(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {"MESH_ZEROMQ__BIND": "tcp://127.0.0.1:*"}
    with serve(directory, "examples.conformance:endpoint", env=env) as (process, url):
        yield url, process.wait_for(r"zeromq\s+(\S+)")[1]


@pytest.fixture(scope="module")
def apps(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {"MESH_ZEROMQ__BIND": f"ipc://{directory}/clients", **ORDER}
    with serve(directory, "tests.support.apps:endpoint", env=env):
        yield env["MESH_ZEROMQ__BIND"]


@pytest.fixture
def gateway():
    made = FakeGateway()
    yield made
    made.close()


def output(*command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, timeout=LONG, **options)
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    return done.stdout


# Alone


def test_what_needs_no_gateway(build):
    program = compile_c(build, "unit", PROGRAMS / "unit.c", LIBRARY)
    assert output(program) == b"ok\n"


def test_numbers_where_the_locale_has_a_comma(build):
    assert output(compile_c(build, "comma", PROGRAMS / "comma.c")) == b"ok\n"


def test_each_allocation_may_fail(build):
    assert output(compile_c(build, "memory", PROGRAMS / "memory.c")) == b"ok\n"


@pytest.fixture(scope="module")
def fuzz(build):
    return compile_c(build, "fuzz", PROGRAMS / "fuzz.c")


def test_mutated_messages_are_read_or_refused(fuzz):
    seed = random.randrange(1 << 30)
    print("seed", seed)
    assert output(fuzz, seed, 200_000) == b"ok\n"


DOCUMENTS = [
    b'{"a":[1,-2.5e+3,0.1,true,false,null,"x\\n\\u00e4\\ud83d\\ude00"]}',
    b'["\xc3\xa4\xf0\x9f\x98\x80", 12345678901234567890, 1e308]',
    b" [ ] ",
    b"-0.0e-1",
    b'"\\/\\b"',
]
TOKENS = [
    b'"', b"\\u", b"\\ud800", b"\\udc00", b"[", b"]", b"{", b"}", b",", b":", b"null", b"1e999", b"-", b"0", b".5",
    b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\0", b"\\", b" ", b"\x7f", b"\xef\xbb\xbf", b"9.9e307", b"E5",
]  # fmt: skip


def mutated(chance, data):
    changed = bytearray(data)
    for _ in range(chance.randint(0, 3)):
        at, kind = chance.randint(0, len(changed)), chance.randrange(4)
        if kind == 0 and changed:
            changed[at % len(changed)] = chance.randrange(256)
        elif kind == 1:
            changed[at:at] = chance.choice(TOKENS)
        elif kind == 2:
            del changed[at : at + chance.randint(1, 4)]
        else:
            changed[at:at] = changed[at : at + 5]
    return bytes(changed)


def readable(document):
    try:
        msgspec.json.decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def test_what_is_sent_as_json_is_json_for_the_gateway_too(fuzz):
    chance = random.Random(seed := random.randrange(1 << 30))
    documents = [mutated(chance, chance.choice(DOCUMENTS)) for _ in range(20_000)]
    framed = b"".join(struct.pack("<I", len(each)) + each for each in documents)
    verdicts = [line.split() for line in output(fuzz, "judge", input=framed).decode().splitlines()]
    expected = [readable(each) for each in documents]
    assert 0 < sum(expected) < len(documents)
    wrong = [
        each
        for each, verdict, ok in zip(documents, verdicts, expected, strict=True)
        if (verdict[1] == "1") != ok
    ]
    assert wrong == [], f"seed {seed}"
    assert all(verdict[0] >= verdict[1] for verdict in verdicts), "what may be sent may come"


def test_make_builds_library_and_example_and_nothing_else(tmp_path):
    here = set(CLIENT.iterdir())
    output("make", "-C", CLIENT, f"BUILD={tmp_path}", "CFLAGS=-O2 -Werror")
    assert {"chat", "libchannelmesh.a"} <= {each.name for each in tmp_path.iterdir()}
    assert set(CLIENT.iterdir()) == here
    used = subprocess.run([tmp_path / "chat"], capture_output=True, text=True, timeout=PATIENCE)
    assert (used.returncode, used.stderr.splitlines()[0]) == (
        2,
        "usage: chat [-k GATEWAY-KEY] ADDRESS NAME [ROOM]",
    )


def test_make_says_what_is_missing(tmp_path):
    done = subprocess.run(
        ["make", "-C", CLIENT, f"BUILD={tmp_path}", "PKG_CONFIG=false"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 2
    assert "libzmq was not found by false: install libzmq3-dev" in done.stderr


PAGES = [CLIENT / "README.md", ROOT / "docs" / "guides" / "clients.md"]
BLOCKS = [block.split("```")[0] for page in PAGES for block in page.read_text().split("```c\n")[1:]]


def test_code_on_our_pages_compiles(tmp_path):
    assert len(BLOCKS) >= 3
    for number, block in enumerate(BLOCKS):
        source = tmp_path / f"block{number}.c"
        source.write_text(block)
        compile_c(tmp_path, f"block{number}.o", source, flags=["-c"])


def test_programs_on_our_pages_do_what_they_say(tmp_path):
    programs = [each for each in BLOCKS if "int main(" in each]
    assert programs
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.chat:endpoint", env=env):
        for number, block in enumerate(programs):
            source = tmp_path / f"program{number}.c"
            source.write_text(block.replace("tcp://127.0.0.1:4010", env["MESH_ZEROMQ__BIND"]))
            lines = output(compile_c(tmp_path, f"program{number}", source, LIBRARY)).decode().splitlines()
            assert lines == ["join: ok {}", "room:lobby new_msg: hello from C", "push: ok {}"]


# A conversation


def test_a_conversation(program, conformance):
    url, address = conformance
    with driver(program, address, params='{"user_id":"7"}', leave_refused=1) as client:
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


def test_bytes(program, conformance):
    with driver(program, conformance[1]) as client:
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


def test_topics_and_events_in_any_script(program, conformance):
    topic = 'room:"Zürich"\\ 駅 😀'
    with driver(program, conformance[1]) as client:
        client.opened()
        assert client.join(topic) == ("ok", {"topic": topic})
        client.ok("push", topic, "push_me", "{}", 0)
        assert client.event(topic, "pushed") == {}
        client.ok("bytes", topic, "push_me", "00", 0)
        assert client.event(topic, "pushed") == b"\0"
        client.ok("leave", topic)
        client.next("close", topic)


def test_a_crashed_channel_joins_again_with_its_new_payload(program, apps):
    with driver(program, apps) as client:
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


def test_order(program, apps):
    with driver(program, apps) as client:
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


def test_a_flood_waits_and_is_answered_in_order(program, conformance):
    with driver(program, conformance[1]) as client:
        client.opened()
        client.ok("join", "room:1", "{}")
        for number in range(3_000):
            client.write(f"push\troom:1\techo\t{number}\t0\t{number}")
        client.reply("2999")
        assert [each[0] for each in client.reports("reply")] == [str(number) for number in range(3_000)]
        assert {each[1] for each in client.reports("reply")} == {OK}


def test_a_silent_client_stays_by_its_heartbeats(program, tmp_path):
    address = f"ipc://{tmp_path}/clients"
    env = {"MESH_ZEROMQ__BIND": address, "MESH_GATEWAY__IDLE_TIMEOUT_SECONDS": "8"}
    with (
        serve(tmp_path, "tests.support.apps:endpoint", env=env),
        zmq.Context() as context,
        context.socket(zmq.DEALER) as silent,
        driver(program, address) as client,
    ):
        silent.setsockopt(zmq.LINGER, 0)
        silent.connect(address)
        client.opened()
        client.join("echo:1")
        silent.send_multipart([b"O", b'{"path":"/socket","params":{"vsn":"2.0.0"}}'])
        while silent.recv_multipart()[0] != b"C":  # it says nothing, and is closed
            pass
        assert client.push("echo:1", "echo", {}) == (OK, "ok", {})
        assert client.reports("end") == client.reports("error") == []


# Refused, closed


def test_a_refused_client_is_told_why_and_asks_again_with_what_it_then_has(program, conformance):
    with driver(program, conformance[1], params='{"token":"bad"}') as client:
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
def test_who_is_refused_learns_code_and_reason(program, apps, options, code, reason):
    with driver(program, apps, **options) as client:
        client.ok("connect")
        assert client.next("end")[:3] == [REFUSED, code, reason]
        client.ok("disconnect")
        client.ok("connect")
        assert client.next("end")[:3] == [REFUSED, code, reason]


def test_a_disconnect_of_the_user_and_a_goodbye_of_ones_own(program, conformance):
    url, address = conformance
    with driver(program, address, params='{"user_id":"9"}') as client:
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


def test_goodbye_ends_the_channels_in_the_server_at_once(program, apps):
    with driver(program, apps) as watcher, driver(program, apps) as client:
        watcher.opened()
        watcher.join("watch:ends")
        client.opened()
        client.join("info:gone")
        client.ok("disconnect")
        assert watcher.event("watch:ends", "ended") == {"topic": "info:gone", "reason": "closed"}


# Time-outs


def test_a_push_that_is_not_answered_times_out(program, conformance):
    with driver(program, conformance[1]) as client:
        client.opened()
        client.join("room:1")
        assert client.push("room:1", "noreply", {}, timeout=110) == (TIMEOUT, "timeout", {})
        client.begin_push("room:1", "noreply", {}, name="open")
        client.ok("leave", "room:1")
        assert client.reply("open") == (CLOSED, "closed", {})


def test_a_reply_after_the_time_out_comes_to_nobody(program, apps):
    with driver(program, apps) as client:
        client.opened()
        client.join("slow:1")
        assert client.push("slow:1", "slow", {"seconds": 5}, timeout=20, name="late")[0] == TIMEOUT
        assert client.push("slow:1", "echo", {}, name="next")[0] == OK, "behind the late one"
        assert [each[0] for each in client.reports("reply")] == ["late", "next"]


def test_what_timed_out_in_the_buffer_is_not_sent(program, gateway):
    with driver(program, gateway.address) as client:
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


def test_a_join_without_an_answer_is_left_and_tried_again_and_its_late_answer_ignored(program, gateway):
    with driver(program, gateway.address, timeout_ms=3000) as client:
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


def test_stale_replies_to_pushes_are_ignored(program, gateway):
    with driver(program, gateway.address) as client:
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


def test_a_refused_join_asks_again_until_it_is_left(program, gateway):
    with driver(program, gateway.address) as client:
        client.ok("connect")
        gateway.opened()
        client.ok("join", "room:1", "{}")
        for _ in range(2):
            gateway.reply(gateway.message(), "error", {"reason": "full"})
            assert client.answered("join", "room:1") == ("error", {"reason": "full"})
        client.ok("leave", "room:1")
        client.next("close", "room:1")


def test_leaving_waits_for_the_answer_but_not_for_ever(program, gateway):
    with driver(program, gateway.address, timeout_ms=5000) as client:
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


# A gateway that is silent, forgetful or mad


def test_a_gateway_without_a_sign_of_life_is_left(program, gateway):
    with driver(program, gateway.address, heartbeat_ms=2000) as client:
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


def test_a_gateway_that_lets_nobody_in_is_asked_again(program, gateway):
    with driver(program, gateway.address, timeout_ms=2000) as client:
        client.ok("connect")
        assert client.next("end") == [LOST, "0", "no answer within 2000 ms", "10"]
        first = gateway.recv(b"O")
        assert gateway.recv(b"O") == first
        client.ok("disconnect")


def test_a_gateway_that_has_forgotten_the_client_is_opened_again(program, gateway):
    with driver(program, gateway.address) as client:
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


def test_garbage_is_dropped_and_told_and_the_conversation_goes_on(program, gateway):
    chance = random.Random(seed := random.randrange(1 << 30))
    print("seed", seed)
    good = [
        b'["1",null,"room:1","event",{"a":[1,2,{"b":"\\u00e4"}]}]',
        b'["1","5","room:1","phx_reply",{"status":"ok","response":{}}]',
        b'[null,null,"room:1","event",{}]',
    ]
    with driver(program, gateway.address) as client:
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
def test_an_end_without_sense_is_an_end(program, gateway, content):
    with driver(program, gateway.address) as client:
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


def test_the_last_words_of_a_gateway_are_heard_by_a_busy_client(program):
    gateway = FakeGateway()
    with driver(program, gateway.address) as client:
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


def test_bounds_are_kept(program, gateway):
    limits = {
        "max_receive_bytes": 10_000,
        "max_send_bytes": 1_000,
        "max_pushes": 2,
        "max_buffered_bytes": 100_000,
    }
    with driver(program, gateway.address, **limits) as client:
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


def test_what_the_gateway_does_not_take_waits_within_the_bound(program):
    gateway = FakeGateway(RCVHWM=1)
    try:
        with driver(program, gateway.address, max_buffered_bytes=2_000_000, max_pushes=100_000) as client:
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


# Deaths


def test_a_killed_worker_is_an_error_of_its_channels_and_they_join_again(program, tmp_path):
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients", **ORDER}
    with (
        cluster(tmp_path, "examples.conformance:endpoint", gateways=1, env=env) as running,
        driver(program, env["MESH_ZEROMQ__BIND"]) as client,
    ):
        client.opened()
        topics = [f"room:{number}" for number in range(24)]
        for topic in topics:
            assert client.join(topic)[0] == "ok"
        running.kill("workers", 0)
        failed = [client.next("error")[0]]
        client.answered("join", failed[0])
        for topic in topics:
            assert client.push(topic, "echo", topic) == (OK, "ok", topic)
        failed += [each[0] for each in client.reports("error") if each[0] != failed[0]]
        assert 0 < len(failed) < 24
        assert client.reports("end") == []


def test_a_killed_gateway_is_found_again_on_its_port_and_all_is_joined_again(program, tmp_path):
    address = free_address()
    env = {"MESH_ZEROMQ__BIND": address, "MESH_GATEWAY__WORKER_WAIT_SECONDS": "240"}
    with (
        cluster(tmp_path, "examples.conformance:endpoint", gateways=1, env=env) as running,
        driver(program, address) as client,
    ):
        client.opened()
        topics = [f"room:{number}" for number in range(10)]
        for topic in topics:
            client.join(topic)
        for number, code in ((signal.SIGKILL, [LOST, "0"]), (signal.SIGTERM, [ENDED, "1012"])):
            old = running.kill("gateways", 0, number)
            client.next("end", *code)
            for topic in topics:
                client.next("error", topic)
                client.begin_push(topic, "echo", topic, timeout=600_000, name=topic)  # waits
            running.wait_restarted("gateways", 0, old)
            client.next("open")
            for topic in topics:
                assert client.answered("join", topic) == ("ok", {"topic": topic})
                assert client.reply(topic) == (OK, "ok", topic)
        assert client.reports("dropped") == []


def test_a_client_that_starts_before_its_gateway_comes_in_when_it_is_there(program, tmp_path):
    address = f"ipc://{tmp_path}/clients"
    with driver(program, address) as client:
        client.ok("join", "room:1", "{}")
        client.begin_push("room:1", "echo", 1)
        client.ok("connect")
        ends = [client.next("end") for _ in range(4)]
        assert [each[0] for each in ends] == [LOST] * 4
        assert [each[3] for each in ends] == ["10", "50", "100", "150"]
        with serve(tmp_path, "examples.conformance:endpoint", env={"MESH_ZEROMQ__BIND": address}):
            assert client.answered("join", "room:1") == ("ok", {"topic": "room:1"})
            assert client.reply() == (OK, "ok", 1)
            client.ok("disconnect")


# CURVE


def test_curve(program, conformance):
    server, other, own = zmq.curve_keypair(), zmq.curve_keypair(), zmq.curve_keypair()
    key, own_key = server[0].decode(), {"public_key": own[0].decode(), "secret_key": own[1].decode()}
    with curve_relay(conformance[1], server) as address:
        with driver(program, address, server_key=key) as client:
            client.opened()
            assert client.join("room:1") == ("ok", {"topic": "room:1"})
            assert client.push("room:1", "echo", "secret") == (OK, "ok", "secret")
        with driver(program, address, server_key=other[0].decode()) as client:
            client.ok("connect")
            assert client.next("end")[0] == LOST
            assert client.reports("open") == []
        with driver(program, address) as client:
            client.ok("connect")
            assert client.next("end")[0] == LOST
    with curve_relay(conformance[1], server, allowed=own[0]) as address:
        with driver(program, address, server_key=key, **own_key) as client:
            client.opened()
            assert client.join("room:1")[0] == "ok"
        with driver(program, address, server_key=key) as client:
            client.ok("connect")
            kind, _, reason, _ = client.next("end")
            assert (kind, "key" in reason) == (LOST, True)


# The example


def test_two_chats_and_what_they_say_of_it(chat, tmp_path):
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.chat:endpoint", env=env):
        address = env["MESH_ZEROMQ__BIND"]
        ana = Program(chat, address, "Ana", "kitchen")
        bo = None
        try:
            ana.wait(lambda line: line == "* joined room:kitchen")
            ana.wait(lambda line: line == "* Ana joined")
            bo = Program(chat, address, 'Bo "B"\x1b[31m', "kitchen")
            bo.wait(lambda line: line == "* Ana is here")
            ana.wait(lambda line: line == '* Bo "B"?[31m joined')
            bo.write('hällo \\ "Ana"\x07')
            ana.wait(lambda line: line == '<Bo "B"?[31m> hällo \\ "Ana"?')
            bo.write("x" * 3000)
            bo.wait(lambda line: line.startswith("! not sent: a message must have 1 to 2000 characters"))
            bo.write("x" * 9000)
            bo.wait(lambda line: line == "! not sent: the line is too long")
            assert bo.end() == 1, "something was not sent"
            ana.wait(lambda line: line == '* Bo "B"?[31m left')
            assert ana.end() == 0, ana.lines
        finally:
            ana.kill()
            if bo is not None:
                bo.kill()


def test_a_chat_of_one_line_sends_it_before_it_ends(chat, tmp_path):
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients", **ORDER}
    with serve(tmp_path, "examples.chat:endpoint", env=env):
        address = env["MESH_ZEROMQ__BIND"]
        said = output(chat, address, "Ana", input=b"no newline at the end").decode()
        assert "<Ana> no newline at the end\n" in said
        for name, room, words in (
            ("", "lobby", "* no connection: refused\n"),
            ("Ana", "x" * 61, "1 to 60 characters"),
        ):
            done = subprocess.run(
                [chat, address, name, room], input=b"hi\n", capture_output=True, timeout=PATIENCE
            )
            assert done.returncode == 1
            assert words in done.stdout.decode()
    done = subprocess.run([chat, "tcp:/x", "Ana"], capture_output=True, timeout=PATIENCE)
    assert (done.returncode, b"want tcp://HOST:PORT" in done.stdout) == (1, True)


def test_the_example_chats_with_a_page_in_a_browser(chat, tmp_path):
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/clients"}
    with serve(tmp_path, "examples.chat:endpoint", env=env) as (_, url):
        program = Program(chat, env["MESH_ZEROMQ__BIND"], "Cé", "lobby")
        page = None
        try:
            program.wait(lambda line: line == "* Cé joined")
            page = Program("node", Path(__file__).parent / "browser" / "chat_with_c.mjs", url)
            page.wait(lambda line: line == "sees Cé")
            program.wait(lambda line: line == "* Ana joined")
            program.write("hello from <C>")
            page.wait(lambda line: line == "said hello from <C>")
            program.wait(lambda line: line == "<Ana> hello from the page")
            program.write("bye")
            page.wait(lambda line: line == "said bye")
            program.wait(lambda line: line == "* Ana left")
            assert page.end() == 0, page.lines
            assert program.end() == 0, program.lines
        finally:
            program.kill()
            if page is not None:
                page.kill()
