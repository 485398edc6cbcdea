"""The host of a request, as in a Host header or the authority of a URL. Pure.

Source: RFC 9110 §7.2, RFC 3986 §3.2.2.
"""

import re
from ipaddress import IPv6Address
from typing import NamedTuple

# `_` and `%` occur in container names. `,` is left out: it means that two headers were joined.
_HOST = re.compile(
    r"(\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+)|[0-9A-Za-z._~!$&'()*+;=%-]*)(?::([0-9]{0,5}))?"
)


class Host(NamedTuple):
    """A parsed host.

    Attributes:
        name: a name, an IPv4 address, or an IPv6 address in brackets; may be empty.
        port: the digits after the colon, which may be empty; None without a colon.
        regular: whether it is an address, or a name made of letters, digits, `.`, `-` and `_`.
    """

    name: str
    port: str | None
    regular: bool


def parse(text: str) -> Host | None:
    """Parse a host; None if it is neither a name nor an address."""
    match = _HOST.fullmatch(text)
    if match is None:
        return None
    name, address, plain, port = match.groups()
    if address is not None:
        try:
            IPv6Address(address)
        except ValueError:
            return None
    return Host(name, port, address is not None or plain is not None)
