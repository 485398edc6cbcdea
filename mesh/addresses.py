"""ZeroMQ addresses: checked before sockets use them, and restricted to this machine unless there are keys.

A proxy's address is the one for publishers; the address for subscribers is the next TCP port, or the same
path or name with ".sub" appended.
"""

import re
from ipaddress import ip_address

from mesh.errors import SettingsError

MAX_IPC_PATH_BYTES = 107
"""The longest path in sockaddr_un."""

_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9.*_-]+):(\*|[0-9]{1,5})\Z")
_WILDCARD_HOSTS = frozenset({"0.0.0.0", "[::]", "*"})  # noqa: S104  (only compared, never bound)
_EXPECTED = "want tcp://HOST:PORT or ipc://PATH"


def check_address(address: str, setting: str) -> str:
    """Return `address` if it is a valid ZeroMQ address.

    Raises:
        SettingsError: if it is not; the message contains `setting` and the value.
    """
    if address.startswith("inproc://") and len(address) > len("inproc://"):
        return address
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        size = len(address[len("ipc://") :].encode("utf-8", "surrogateescape"))
        if size > MAX_IPC_PATH_BYTES - len(".sub"):
            raise SettingsError(
                f"{setting}: the path in {address!r} has {size} bytes; a socket's path has at most"
                f" {MAX_IPC_PATH_BYTES - len('.sub')}"
            )
        return address
    match = _TCP.match(address)
    if match is None:
        raise SettingsError(f"{setting}: {address!r} is not a ZeroMQ address ({_EXPECTED})")
    if match[2] != "*" and not 0 < int(match[2]) < 65_535:
        raise SettingsError(f"{setting}: {address!r} has no port between 1 and 65534 ({_EXPECTED})")
    return address


def publish_address(proxy: str) -> str:
    """Return the address that publishers connect to."""
    return proxy


def subscribe_address(proxy: str) -> str:
    """Return the address that subscribers connect to."""
    if not proxy.startswith("tcp://"):
        return proxy + ".sub"
    head, _, port = proxy.rpartition(":")
    return f"{head}:{int(port) + 1}"


def is_local(address: str) -> bool:
    """Return whether an address cannot be reached from another machine."""
    if not address.startswith("tcp://"):
        return True
    host = address[len("tcp://") :].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def missing_keys_error(address: str, setting: str) -> SettingsError:
    """Return the error for an address on or for other machines if there are no CURVE keys."""
    return SettingsError(
        f"{setting}: {address!r} is beyond this machine and requires CURVE keys; make them with `mesh keys"
        " generate` and set MESH_SECURITY__NODE_KEY, or use tcp://127.0.0.1:PORT or ipc://PATH"
    )


def advertised_address(address: str, host: str | None) -> str:
    """Return the address that other nodes connect to, of a listener bound to `address`.

    Raises:
        SettingsError: if it listens on all addresses and `host` is None.
    """
    if not address.startswith("tcp://"):
        return address
    bound, _, port = address[len("tcp://") :].rpartition(":")
    if host is not None:
        return f"tcp://{f'[{host}]' if ':' in host else host}:{port}"
    if bound in _WILDCARD_HOSTS:
        raise SettingsError(
            f"MESH_LINK__BIND: {address!r} listens on all addresses, so there is no address to announce;"
            " set MESH_LINK__ADVERTISE_HOST to this machine's name or address, or bind to one address"
        )
    return address
