"""The PROXY protocol, by which a TCP load balancer names the client. Pure.

Source: HAProxy's proxy-protocol.txt. Version 1 is a line of text, version 2 a binary header. If the header
names no client (UNKNOWN, LOCAL, Unix sockets), the connection's own address is used.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from mesh.errors import RemoteProtocolError

MAX_LINE_BYTES = 107
"""The limit of a version 1 header, including CRLF."""
MAX_BYTES = 4_096
"""The limit of a version 2 header. IP addresses take at most 36 bytes; other fields are skipped."""

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_LINE = re.compile(
    rb"PROXY (?:UNKNOWN(?: [!-~ ]*)?|(TCP[46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (\d+) (\d+))\r\n"
)
_LOCAL, _PROXY = 0x20, 0x21
_TCP4, _TCP6, _UNSPECIFIED, _UNIX = 0x11, 0x21, 0x00, 0x31
_WITHOUT_ADDRESS = frozenset({_UNSPECIFIED, _UNIX, 0x12, 0x22, 0x32})


class Header(NamedTuple):
    """A parsed header.

    Attributes:
        size: its length in bytes; what follows belongs to the connection.
        source: the client's address and port, or None if it names none.
    """

    size: int
    source: tuple[str, int] | None


def read(data: bytes) -> Header | None:
    """Return the header at the start of `data`; None while it is incomplete.

    Raises:
        RemoteProtocolError: as soon as it is clear that there is no valid header.
    """
    if data[:12] == _SIGNATURE[: len(data)]:
        return _version_2(data) if len(data) >= 16 else None
    if data[:6] == b"PROXY "[: len(data)]:
        return _version_1(data)
    raise RemoteProtocolError(f"no PROXY header: the connection begins with {data[:16]!r}")


def _version_1(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
    if end < 0:
        if len(data) >= MAX_LINE_BYTES:
            raise RemoteProtocolError(f"a PROXY line of more than {MAX_LINE_BYTES} bytes")
        return None
    line = data[: end + 2]
    match = _LINE.fullmatch(line)
    if match is None:
        raise RemoteProtocolError(f"a malformed PROXY line: {line!r}")
    if match[1] is None:
        return Header(len(line), None)
    parse_address = IPv4Address if match[1] == b"TCP4" else IPv6Address
    try:
        source, _ = parse_address(match[2].decode()), parse_address(match[3].decode())
    except ValueError:
        raise RemoteProtocolError(f"a PROXY line without two addresses: {line!r}") from None
    ports = [each.decode() for each in (match[4], match[5])]
    if any(int(each) > 65_535 or (each[0] == "0" and each != "0") for each in ports):
        raise RemoteProtocolError(f"a PROXY line without two ports: {line!r}")
    return Header(len(line), (address_text(source), int(ports[0])))


def _version_2(data: bytes) -> Header | None:
    command, family = data[12], data[13]
    length = int.from_bytes(data[14:16], "big")
    if command not in (_LOCAL, _PROXY):
        raise RemoteProtocolError(f"a PROXY header of version {command >> 4}, command {command & 15}")
    if 16 + length > MAX_BYTES:
        raise RemoteProtocolError(f"a PROXY header of {16 + length} bytes; at most {MAX_BYTES}")
    if len(data) < 16 + length:
        return None
    if command == _LOCAL or family in _WITHOUT_ADDRESS:
        return Header(16 + length, None)
    size = {_TCP4: 4, _TCP6: 16}.get(family)
    if size is None:
        raise RemoteProtocolError(f"a PROXY header with the address family {family:#04x}")
    if length < 2 * size + 4:
        raise RemoteProtocolError(f"a PROXY header with {length} bytes of addresses; want {2 * size + 4}")
    source = ip_address(data[16 : 16 + size])
    port = int.from_bytes(data[16 + 2 * size : 18 + 2 * size], "big")
    return Header(16 + length, (address_text(source), port))


def address_text(address: IPv4Address | IPv6Address) -> str:
    """Return an address as text; an IPv4-mapped IPv6 address becomes the IPv4 address."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def peer_address(peer: object) -> tuple[str, int] | None:
    """Return a socket's peer name as (address, port); None if it is not an IP address."""
    if not isinstance(peer, tuple):
        return None
    host = str(peer[0])
    return (host[7:] if host.startswith("::ffff:") and "." in host else host), int(peer[1])
