"""Listening sockets for HTTP: one or more hosts, IPv4 and IPv6, all on one port."""

import errno
import socket
from collections.abc import Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv6Address, ip_address
from typing import Any

from mesh.errors import NodeError
from mesh.settings import GatewaySettings

BACKLOG = 4_096
MAX_PORT_ATTEMPTS = 20
"""Attempts with port 0: the port that the kernel chose for the first host may be in use on another."""

_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  (the users' choice)
_NOT_LOCAL = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class ClientSockets:
    """The listening sockets of a gateway.

    Args:
        stack: closes them, unless something else has closed them before.
        gateway: the gateway's settings.

    Attributes:
        shared: the sockets of `gateway.port`.
        own: the sockets of `gateway.own_port`, if it is set.
        urls: the URLs of all of them.

    Raises:
        NodeError: if a host cannot be listened on.
    """

    def __init__(self, stack: AsyncExitStack, gateway: GatewaySettings) -> None:
        self.shared = listen(gateway.host, gateway.port, reuse_port=gateway.reuse_port)
        stack.callback(_close, self.shared)
        self.own: list[socket.socket] = []
        if gateway.own_port is not None:
            self.own = listen(gateway.host, gateway.own_port, reuse_port=gateway.reuse_port)
            stack.callback(_close, self.own)
        scheme = "https" if gateway.tls_certificate is not None else "http"
        ports = dict.fromkeys(each.getsockname()[1] for each in self.shared + self.own)
        self.urls = [url(scheme, host, port) for port in ports for host in gateway.host]


def listen(
    hosts: Sequence[str], port: int, *, reuse_port: bool = False, setting: str = "--port"
) -> list[socket.socket]:
    """Listen on all these hosts; `::` includes IPv4 unless an IPv4 host is given too.

    Args:
        hosts: addresses or names; a name stands for all its addresses.
        port: 0 lets the kernel choose one for all.
        reuse_port: share it with other processes (SO_REUSEPORT).
        setting: the option or setting for another port, named in errors.

    Raises:
        NodeError: if a host cannot be listened on.
    """
    bound = bind(hosts, port, reuse_port=reuse_port, setting=setting)
    for each in bound:
        try:
            each.listen(BACKLOG)
        except OSError as error:
            address = each.getsockname()[0]  # a name in `hosts` may stand for several addresses
            _close(bound)
            raise _listen_error(address, port, error, setting) from None
    return bound


def bind(
    hosts: Sequence[str], port: int, *, reuse_port: bool = False, setting: str = "--port"
) -> list[socket.socket]:
    """As `listen`, but without listening yet."""
    for attempt in range(1, MAX_PORT_ATTEMPTS + 1):
        try:
            return _bind_all(hosts, port, reuse_port, setting)
        except _PortInUseError as in_use:
            if port or attempt == MAX_PORT_ATTEMPTS:
                raise in_use.error from None
    raise AssertionError


class _PortInUseError(Exception):
    """A port is in use; the kernel may choose another."""

    def __init__(self, error: NodeError) -> None:
        super().__init__(str(error))
        self.error = error


def _bind_all(hosts: Sequence[str], port: int, reuse_port: bool, setting: str) -> list[socket.socket]:
    bound: list[socket.socket] = []
    found = [(host, address) for host in hosts for address in _addresses(host, port, setting)]
    families = {family for _, (family, _) in found}
    wildcards = {address[0] for _, (_, address) in found if address[0] in _WILDCARDS}
    absent: list[tuple[str, OSError]] = []
    # Several hosts may stand for one address.
    for (family, address), host in _without_repetition(found):
        if address[0] not in _WILDCARDS and _WILDCARDS[family == socket.AF_INET6] in wildcards:
            continue  # included in the wildcard address
        at = (address[0], port, *address[2:])
        try:
            sock = _bind(family, at, reuse_port, dual=socket.AF_INET not in families)
        except OSError as error:
            if error.errno in _NOT_LOCAL and host not in _WILDCARDS:
                absent.append((host, error))  # other addresses of the name may be local
                continue
            _close(bound)
            listen_error = _listen_error(host, port, error, setting)
            in_use = error.errno == errno.EADDRINUSE
            raise (_PortInUseError(listen_error) if in_use else listen_error) from None
        bound.append(sock)
        port = sock.getsockname()[1]
    missing = [each for each in absent if not _is_served(each[0], found, bound)]
    if missing:
        _close(bound)
        raise _listen_error(missing[0][0], port, missing[0][1], setting)
    return bound


def _without_repetition(found: list[tuple[str, Any]]) -> list[tuple[Any, str]]:
    first: dict[Any, str] = {}
    for host, address in found:
        first.setdefault(address, host)
    return list(first.items())


def _is_served(host: str, found: list[tuple[str, Any]], bound: list[socket.socket]) -> bool:
    at = {each.getsockname()[0] for each in bound}
    return any(name == host and address[0] in at for name, (_, address) in found)


def _addresses(host: str, port: int, setting: str) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _listen_error(host, port, error, setting) from None
    addresses = [_as_ipv4(family, address) for family, _, _, _, address in found]
    return sorted(addresses, key=lambda each: each[0])


def _as_ipv4(
    family: socket.AddressFamily, address: tuple[Any, ...]
) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return an IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`) as the IPv4 address."""
    mapped = ip_address(address[0].partition("%")[0]) if family == socket.AF_INET6 else None
    if isinstance(mapped, IPv6Address) and mapped.ipv4_mapped is not None:
        return socket.AF_INET, (str(mapped.ipv4_mapped), address[1])
    return family, address


def _bind(
    family: socket.AddressFamily, address: tuple[Any, ...], reuse_port: bool, dual: bool
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            only = not (dual and address[0] == "::")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        sock.setblocking(False)
        sock.bind(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _close(bound: list[socket.socket]) -> None:
    for each in bound:
        each.close()


def _listen_error(host: str, port: int, error: Exception, setting: str) -> NodeError:
    reason = getattr(error, "strerror", None) or error
    return NodeError(f"cannot listen on {bracketed(host)}:{port}: {reason}; choose another with {setting}")


def bracketed(host: str) -> str:
    """Return a host as it is written in a URL."""
    return f"[{host}]" if ":" in host else host


def url(scheme: str, host: str, port: int) -> str:
    """Return a URL such as `http://[::]:4000`."""
    return f"{scheme}://{bracketed(host)}:{port}"
