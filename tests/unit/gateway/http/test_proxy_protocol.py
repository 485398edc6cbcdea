"""gateway/http/proxy_protocol.py: versions 1 and 2 of the PROXY protocol."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.errors import RemoteProtocolError
from mesh.gateway.http.proxy_protocol import MAX_BYTES, Header, peer_address, read

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def version_2(source, port=1234, command=0x21, extra=b"", family=None):
    address = ip_address(source).packed
    kind = {4: 0x11, 16: 0x21}[len(address)] if family is None else family
    body = address * 2 + port.to_bytes(2, "big") + (443).to_bytes(2, "big") + extra
    return SIGNATURE + bytes((command, kind)) + len(body).to_bytes(2, "big") + body


V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
GOOD = [
    (V1, ("192.0.2.7", 56324)),
    (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", ("2001:db8::7", 1)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", ("192.0.2.7", 1)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", None),
    (version_2("192.0.2.7"), ("192.0.2.7", 1234)),
    (version_2("2001:db8::7"), ("2001:db8::7", 1234)),
    (version_2("192.0.2.7", extra=b"\x04\0\x03abc"), ("192.0.2.7", 1234)),
    (version_2("192.0.2.7", command=0x20), None),
    (SIGNATURE + b"\x20\x00\x00\x00", None),
    (SIGNATURE + b"\x21\x00\x00\x00", None),
    (SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), None),
]


@pytest.mark.parametrize(("data", "source"), GOOD)
def test_a_header_is_read_however_it_is_cut_and_nothing_behind_it(data, source):
    assert (
        read(data)
        == read(data + b"GET / HTTP/1.1\r\n\r\n")
        == read(data + data)
        == Header(len(data), source)
    )
    for end in range(len(data)):
        assert read(data[:end]) is None, end


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01",
        b"\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        b"PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UNKNOWN\0\r\n",
        b"PROXY UNKNOWN" + b" x" * 47 + b"\r\n",
        b"PROXY " + b"x" * 200,
        SIGNATURE + b"\x11\x11\0\0",
        SIGNATURE + b"\x22\x11\0\0",
        SIGNATURE + b"\x21\x11\xff\xff",
        SIGNATURE + b"\x21\x11" + (MAX_BYTES - 15).to_bytes(2, "big"),
        version_2("192.0.2.7", family=0x21),
        version_2("192.0.2.7", family=0x77),
        SIGNATURE + b"\x21\x11\0\x04abcd",
        SIGNATURE[:-1] + b"x",
    ],
)
def test_what_is_none_is_refused_at_once(data):
    with pytest.raises(RemoteProtocolError, match="PROXY"):
        read(data)


@given(st.binary(max_size=200), st.sampled_from([data for data, _ in GOOD]), st.integers(0, 60))
def test_no_bytes_raise_anything_else(junk, data, at):
    for each in (junk, data[:at] + junk + data[at:]):
        try:
            header = read(each)
        except RemoteProtocolError:
            continue
        assert header is None or header.size <= len(each)


def test_ipv4_within_ipv6_is_shown_as_ipv4():
    assert peer_address(("::ffff:192.0.2.7", 5, 0, 0)) == ("192.0.2.7", 5)
    assert peer_address(("::1", 5, 0, 0)) == ("::1", 5)
    assert peer_address(("192.0.2.7", 5)) == ("192.0.2.7", 5)
    assert peer_address("") is None
