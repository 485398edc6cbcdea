"""Finds the client behind HTTP proxies, and the URL it used: RFC 7239 and X-Forwarded-*. Pure.

Only proxies in `gateway.trusted_proxies` are trusted. Each appends to the right end of a list, so lists are
read from the right, for as long as the addresses are trusted. If there is any X-Forwarded-* header,
`Forwarded` is ignored, because proxies that set one kind pass on what a client wrote in the other.
"""

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple, Protocol

from mesh.gateway.http import host as hosts
from mesh.gateway.http.host import Host
from mesh.gateway.http.proxy_protocol import address_text

MAX_HOPS = 32
"""The most entries of one list that are read, from its right end."""

Peer = tuple[str, int]

_NODE = re.compile(
    r"(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]|([0-9.]+))(?::(?:([0-9]{1,5})|_[0-9A-Za-z._-]+))?"
)
_BARE_IPV6 = re.compile(r"[0-9A-Fa-f.]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*")
_HIDDEN = re.compile(r"(?:unknown|_[0-9A-Za-z._-]+)(?::[0-9A-Za-z._-]+)?", re.IGNORECASE)
_NAME = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_NAME})=(?:({_NAME})|"((?:[^"\\]|\\.)*)")[ \t]*([;,]|$)')
_EMPTY = re.compile(r"[ \t]*([;,]|$)")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Headers(Protocol):
    """A request's headers, Tornado's or our own."""

    def get_list(self, name: str) -> list[str]:
        """Return all values of a header."""


class OriginalRequest(NamedTuple):
    """A request as its client sent it.

    Attributes:
        scheme: "http" or "https".
        host: with the port, as in a Host header.
        peer: the client's address and port.
        source: where scheme and host come from, for log lines.
    """

    scheme: str
    host: str
    peer: Peer | None
    source: str


class TrustedProxies:
    """The proxies that may name the client: `gateway.trusted_proxies`.

    Args:
        networks: the proxies' networks.
        on_malformed: called with the name and value of a header that is ignored because it is malformed.
    """

    def __init__(
        self, networks: Sequence[str], on_malformed: Callable[[str, str], None] = lambda _name, _value: None
    ) -> None:
        self._on_malformed = on_malformed
        self._networks: list[IPv4Network | IPv6Network] = [
            ip_network(each, strict=False) for each in networks
        ]

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Return whether an IP address is in one of the networks."""
        try:
            parsed = ip_address(address_text(ip_address(address)))
        except ValueError:
            return False
        return any(parsed in each for each in self._networks if each.version == parsed.version)

    def original_request(
        self, headers: Headers, scheme: str, host: str, peer: Peer | None
    ) -> OriginalRequest:
        """Return the request as the first trusted proxy received it.

        Args:
            headers: the request's headers.
            scheme: the scheme by which the request reached this gateway.
            host: its Host header.
            peer: the other end of the connection; an IPv4 address is not written as an IPv6 one.
        """
        own = OriginalRequest(scheme, host, peer, "the request itself")
        given = [name for name in _X_HEADERS if headers.get_list(name)]
        forwarded = [] if given else headers.get_list("forwarded")
        if not given and not forwarded:
            return own
        if peer is None or not self.trusts(peer[0]):
            names = ", ".join(given or ["forwarded"])
            at = peer[0] if peer is not None else "a peer without address"
            return own._replace(source=f"the request itself; {names} of {at} ignored, which is not trusted")
        return self._by_x_headers(headers, own) if given else self._by_forwarded(forwarded, own)

    def _by_x_headers(self, headers: Headers, own: OriginalRequest) -> OriginalRequest:
        scheme, host, peer, _ = own
        used = []
        hops = 0
        for node in reversed(_items(headers, "x-forwarded-for")):
            if peer is None or not self.trusts(peer[0]):
                break
            hops += 1
            found = _bare_ipv6(node) or self._peer(node)
            if found is None:
                break
            peer = found
        if hops:
            used.append("x-forwarded-for")
        at = max(hops, 1)  # each proxy appends one entry to each list that it sets
        protos = [each.lower() for each in _items(headers, "x-forwarded-proto")]
        if protos:
            named = protos[-min(at, len(protos))]
            proto = _SCHEMES.get(named)
            if proto is None:
                self._on_malformed("x-forwarded-proto", named)
            else:
                scheme = proto
                used.append("x-forwarded-proto")
        listed, ports = _items(headers, "x-forwarded-host"), _items(headers, "x-forwarded-port")
        port = ports[-min(at, len(ports))] if ports else None
        if port is not None and not _is_port(port):
            self._on_malformed("x-forwarded-port", port)
            port = None
        given = None
        if listed:
            text = listed[-min(at, len(listed))]
            given = _host(text)
            if given is None:
                self._on_malformed("x-forwarded-host", text)
            else:
                used.append("x-forwarded-host")
                host = text
        if port is not None and (given is None or given.port is None):
            asked = hosts.parse(host)
            if asked is not None and asked.regular:
                host = asked.name + ("" if port == _DEFAULT_PORTS[scheme] else f":{port}")
                used.append("x-forwarded-port")
        return OriginalRequest(
            scheme, host, peer, f"{', '.join(used) or 'the request itself'}{_sent_by(own.peer)}"
        )

    def _by_forwarded(self, values: list[str], own: OriginalRequest) -> OriginalRequest:
        elements = _elements(",".join(values))
        if elements is None:
            self._on_malformed("forwarded", ",".join(values))
            return own
        scheme, host, peer, _ = own
        for element in reversed(elements[-MAX_HOPS:]):
            if peer is None or not self.trusts(peer[0]):
                break
            proto, given = element.get("proto", "").lower(), element.get("host", "")
            if proto in _SCHEMES:
                scheme = _SCHEMES[proto]
            elif proto:
                self._on_malformed("forwarded", f"proto={proto}")
            if _host(given) is not None:
                host = given
            elif given:
                self._on_malformed("forwarded", f"host={given}")
            found = self._peer(element.get("for", "unknown"))
            if found is None:
                break
            peer = found
        return OriginalRequest(scheme, host, peer, f"forwarded{_sent_by(own.peer)}")

    def _peer(self, node: str) -> Peer | None:
        """Parse an address with or without a port; None if it is hidden or malformed."""
        match = _NODE.fullmatch(node)
        if match is not None and _is_port(match[3] or "1"):
            found = _address(match[1] or match[2], match[3])
            if found is not None:
                return found
        if not _HIDDEN.fullmatch(node):
            self._on_malformed("forwarded or x-forwarded-for", node)
        return None


_X_HEADERS = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port")
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


def _sent_by(peer: Peer | None) -> str:
    return f" of {peer[0]}" if peer is not None else ""


def _items(headers: Headers, name: str) -> list[str]:
    """Return the last MAX_HOPS entries of a list, which may be spread over several header lines."""
    joined = ",".join(headers.get_list(name))
    found = joined.rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return [each for each in (item.strip(" \t") for item in found) if each]


def _host(text: str) -> Host | None:
    """Parse a regular host, with a valid port if it has one; None for anything else."""
    found = hosts.parse(text)
    if found is None or not found.regular or not _is_port("1" if found.port is None else found.port):
        return None
    return found


def _bare_ipv6(node: str) -> Peer | None:
    """Parse an IPv6 address without brackets, as X-Forwarded-For may contain it."""
    return _address(node, None) if _BARE_IPV6.fullmatch(node) else None


def _address(text: str, port: str | None) -> Peer | None:
    try:
        return address_text(ip_address(text)), int(port or 0)
    except ValueError:
        return None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:6]) <= 65_535


def _elements(text: str) -> list[dict[str, str]] | None:
    """Parse the elements of a Forwarded header, with lower-case names; None if it is malformed."""
    found: list[dict[str, str]] = []
    element: dict[str, str] = {}
    at = 0
    while True:
        match = _PAIR.match(text, at)
        if match is not None:
            name, end = match[1].lower(), match[4]
            if name in element:
                return None
            element[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
        else:
            match = _EMPTY.match(text, at)
            if match is None:
                return None
            end = match[1]
        at = match.end()
        if end != ";" and element:
            found.append(element)
            element = {}
        if not end:
            return found
