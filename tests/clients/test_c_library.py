"""clients/c by itself: compiled with the sanitizers, with `make`, and from the blocks of its documentation."""

import random
import struct
import subprocess

import msgspec
import pytest

from tests.support.c_client import BLOCKS, CLIENT, PROGRAMS, compile_c, output
from tests.support.mutations import mutated
from tests.support.until import PATIENCE


def test_what_needs_no_gateway(c_build):
    assert output(c_build.program("unit", PROGRAMS / "unit.c")) == b"ok\n"


def test_numbers_where_the_locale_has_a_comma(c_build):
    assert output(c_build.alone(PROGRAMS / "comma.c")) == b"ok\n"


def test_each_allocation_may_fail(c_build):
    assert output(c_build.alone(PROGRAMS / "memory.c")) == b"ok\n"


@pytest.fixture(scope="module")
def fuzz(c_build):
    return c_build.alone(PROGRAMS / "fuzz.c")


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


def test_code_on_our_pages_compiles(tmp_path):
    assert len(BLOCKS) >= 3
    for number, block in enumerate(BLOCKS):
        source = tmp_path / f"block{number}.c"
        source.write_text(block)
        compile_c(tmp_path, f"block{number}.o", source, flags=["-c"])
