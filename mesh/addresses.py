"""ZeroMQ addresses: checked before a socket sees them, and kept on this machine.

A proxy's address names its publishers' side; the subscribers' side is the next TCP port, or the same
path or name with ".sub".
"""

import re
from ipaddress import ip_address

from mesh.errors import SettingsError

IPC_PATH_BYTES = 107
"""sockaddr_un holds no more."""

_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9.*_-]+):(\*|[0-9]{1,5})\Z")
_ALL = frozenset({"0.0.0.0", "[::]", "*"})  # noqa: S104  (compared with, not bound to)
_WANTED = "want tcp://HOST:PORT or ipc://PATH"


def check_address(address: str, setting: str) -> str:
    """Return `address` if ZeroMQ can use it.

    Raises:
        SettingsError: naming `setting` and the value, if it cannot.
    """
    if address.startswith("inproc://") and len(address) > len("inproc://"):
        return address
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        size = len(address[len("ipc://") :].encode("utf-8", "surrogateescape"))
        if size > IPC_PATH_BYTES - len(".sub"):
            raise SettingsError(
                f"{setting}: the path in {address!r} is {size} bytes; a socket's path has at most"
                f" {IPC_PATH_BYTES - len('.sub')}"
            )
        return address
    match = _TCP.match(address)
    if match is None:
        raise SettingsError(f"{setting}: {address!r} is not a ZeroMQ address ({_WANTED})")
    if match[2] != "*" and not 0 < int(match[2]) < 65_535:
        raise SettingsError(f"{setting}: {address!r} has no port between 1 and 65534 ({_WANTED})")
    return address


def publish_address(proxy: str) -> str:
    """Where publishers connect to a proxy."""
    return proxy


def subscribe_address(proxy: str) -> str:
    """Where subscribers connect to a proxy."""
    if not proxy.startswith("tcp://"):
        return proxy + ".sub"
    head, _, port = proxy.rpartition(":")
    return f"{head}:{int(port) + 1}"


def is_local(address: str) -> bool:
    """Whether an address cannot be reached from another machine."""
    if not address.startswith("tcp://"):
        return True
    host = address[len("tcp://") :].rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def needs_keys(address: str, setting: str) -> SettingsError:
    """What to say when an address is beyond this machine and there are no CURVE keys."""
    return SettingsError(
        f"{setting}: {address!r} is beyond this machine, which needs CURVE keys; make them with `mesh keys"
        " generate` and set MESH_SECURITY__NODE_KEY, or use tcp://127.0.0.1:PORT or ipc://PATH"
    )


def reachable(address: str, host: str | None) -> str:
    """The address that others connect to, of a listener that is bound to `address`.

    Raises:
        SettingsError: if it listens on all addresses and `host` does not say which to name.
    """
    if not address.startswith("tcp://"):
        return address
    bound, _, port = address[len("tcp://") :].rpartition(":")
    if host is not None:
        return f"tcp://{f'[{host}]' if ':' in host else host}:{port}"
    if bound in _ALL:
        raise SettingsError(
            f"MESH_LINK__BIND: {address!r} listens on all addresses, so gateways cannot be told one;"
            " set MESH_LINK__ADVERTISE_HOST to this machine's name or address, or bind to that"
        )
    return address
