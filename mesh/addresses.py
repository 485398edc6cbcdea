"""ZeroMQ addresses: checked before a socket sees them, and kept on this machine.

A proxy's address names its publishers' side; the subscribers' side is the next TCP port, or the same
path or name with ".sub".
"""

import re
from ipaddress import ip_address

from mesh.errors import SettingsError

IPC_PATH_BYTES = 107
"""sockaddr_un holds no more."""

_TCP = re.compile(r"tcp://(\[[0-9A-Fa-f:.%]+\]|[A-Za-z0-9.*_-]+):(\*|\d{1,5})\Z")
_WANTED = "want tcp://HOST:PORT or ipc://PATH"


def check_address(address: str, setting: str) -> str:
    """Return `address` if ZeroMQ can use it.

    Raises:
        SettingsError: naming `setting` and the value, if it cannot.
    """
    if address.startswith("inproc://") and len(address) > len("inproc://"):
        return address
    if address.startswith("ipc://") and len(address) > len("ipc://"):
        size = len(address[len("ipc://") :].encode())
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


def require_local_bind(address: str, setting: str) -> None:
    """Refuse to listen beyond this machine: nobody could be authenticated there.

    Raises:
        SettingsError: if `address` can be reached from another machine.
    """
    if not is_local(address):
        raise SettingsError(
            f"{setting}: listening on {address!r} needs CURVE keys, which this version cannot make yet;"
            " use tcp://127.0.0.1:PORT or ipc://PATH"
        )
