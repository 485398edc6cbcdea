"""Every parser of tests/support/parsers.py: no bytes make it raise what it may not, or work without measure."""

import sys
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh.errors import EncodeError, SettingsError
from mesh.gateway.transports.longpoll.encoding import ENCODINGS
from tests.support import parsers
from tests.support.parsers import BY_PARSER, PACK, PARSERS, read

each_parser = pytest.mark.parametrize("parser", PARSERS, ids=lambda each: each.name)
few = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))

PIECES = (
    b"\x00", b"\xff", b"\xc1", b"[" * 600, b"\x91" * 1_100, b'{"a":' * 600, b"\x81\xa1a" * 600, b"\xdc\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc7\x00\x05", b"\xd6\xff\0\0\0\0",
    b'"', b"\\ud800", b"\xed\xa0\x80", b"9" * 400, b"-1e999", b"\r\n", b"[", b"]", b"%ff", b"\xc3\xa9", b"=", b":", b"*",
)  # fmt: skip


@st.composite
def broken(draw, seeds):
    """A seed with a few accidents: truncated, bits flipped, spliced with another, pieces put in or repeated."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        way = draw(st.integers(0, 5))
        if way == 0:
            del data[at:]
        elif way == 1 and data:
            data[at - 1] ^= 1 << draw(st.integers(0, 7))
        elif way == 2:
            other = draw(st.sampled_from(seeds))
            data[at:] = other[draw(st.integers(0, len(other))) :]
        elif way == 3:
            data[at:at] = draw(st.sampled_from(PIECES))
        elif way == 4:
            data[at:at] = data[at : at + draw(st.integers(1, 8))] * draw(st.sampled_from((1, 2, 700)))
        else:
            del data[at : at + draw(st.integers(1, 8))]
    return bytes(data)


@each_parser
def test_seeds_are_read_and_what_was_read_is_written_and_read_again(parser):
    assert parser.seeds
    for seed in parser.seeds:
        value = parser.call(seed)
        if parser.again is not None:
            assert parser.call(parser.again(value)) == value


@each_parser
def test_mutations_raise_nothing_unexpected(parser):
    @few
    @given(broken(parser.seeds))
    def run(data):
        value = read(parser, data)
        if parser.again is not None and not isinstance(value, Exception):
            read(parser, parser.again(value))

    run()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("key file", b"curve\n    public-key"),
        ("upgrade", parsers.UPGRADE.replace(b"dG9rZW4", b"\xe9")),
        ("upgrade, origin conn", parsers.UPGRADE.replace(b"Host: localhost", b"Host: [")),
        ("origin conn", b"http://a\na:x"),
        ("topics question", b"\x94\xa0\xc2\x01" + b"\x91" * 100_000),
        ("topics answer", b"\x93\x90\x01" + b"\x91" * 100_000),
        ("longpoll unread", b"\x92\xa1\xff\x90"),
        ("longpoll post", b"\x92\xa1\xff\x90"),
        ("longpoll polled", b"\x91\xa1\xff"),
        ("longpoll status", b"9" * 5_000),
        ("address", b"ipc:///\xff"),
        ("assigns", b"\x81\xa1\xe4\xc0"),
        ("assigns", b"\x81\xa1a" + b"\x91" * 100_000),
        ("bus message", bytes((4, 9)) + b"t:1\0" + PACK((1, 1, "n", 1, "event", 0, None))[:9] + b"\xff"),
    ],
)
def test_what_was_found_once(name, data):
    read(BY_PARSER[name], data)


def test_a_port_is_written_in_ascii():
    assert isinstance(read(BY_PARSER["address"], "tcp://127.0.0.1:٣٣".encode()), SettingsError)


def test_a_broadcast_that_is_not_utf8_costs_long_poll_clients_that_broadcast_and_no_other():
    header = PACK((1, 1, "n", 1, "e", 0, None))
    read_header = BY_PARSER["bus message"].call(
        bytes((4, len(header))) + b"t:1\0" + header + b'{"a":"\xff"}'
    )
    assert read_header.event == "e"
    for encoding in ENCODINGS.values():
        with pytest.raises(EncodeError, match="not UTF-8"):
            encoding.serializer.encode_broadcast("t:1", "e", 0, b'{"a":"\xff"}')


@each_parser
def test_any_bytes_raise_nothing_unexpected(parser):
    @few
    @given(st.binary(max_size=300))
    def run(data):
        read(parser, data)

    run()


def shapes(parser, size):
    """Input of about that size, of the kinds that make parsers slow."""
    seed = parser.seeds[0]
    half = seed[: len(seed) // 2]
    yield (seed * size)[:size]
    for piece in (
        b"[",
        b"\x91",
        b'{"a":',
        b"\x81\xa1a",
        b"&a[]=1",
        b"&a[b]=1",
        b"[a]",
        b"a,",
        b"X-A: 1\r\n",
        b"\n",
        b"0",
    ):
        yield (piece * size)[:size]
        yield half + (piece * size)[:size]


def lines_and_bytes(parser, data):
    """How many lines of Python run to read it, and the most memory at a time."""
    lines = 0

    def trace(_frame, event, _argument):
        nonlocal lines
        lines += event == "line"
        return trace

    tracemalloc.start()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        read(parser, data)
    finally:
        sys.settrace(before)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return lines, peak


@each_parser
def test_ten_times_the_bytes_are_ten_times_the_work_at_most(parser):
    small, large = 1_500, 15_000
    for short, long in zip(shapes(parser, small), shapes(parser, large), strict=True):
        lines, peak = lines_and_bytes(parser, short)
        more_lines, more_peak = lines_and_bytes(parser, long)
        assert more_lines <= 12 * lines + 500, long[:40]
        assert peak <= 200 * len(short) + 300_000, short[:40]
        assert more_peak <= 200 * len(long) + 300_000, long[:40]
