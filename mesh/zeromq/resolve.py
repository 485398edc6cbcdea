"""Addresses with names: a name with many addresses stands for as many proxies."""

import socket
from collections.abc import Sequence
from ipaddress import ip_address


def resolve(addresses: Sequence[str]) -> list[str]:
    """Each address with its host's IP addresses in its place; one that has no such host stays as it is.

    Looks names up, once; that may take as long as the system's resolver does.
    """
    return list(dict.fromkeys(each for address in addresses for each in _resolve(address)))


def _resolve(address: str) -> list[str]:
    if not address.startswith("tcp://"):
        return [address]
    host, _, port = address[len("tcp://") :].rpartition(":")
    if host == "localhost":
        return [f"tcp://127.0.0.1:{port}"]
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        pass
    else:
        return [address]
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        return [address]  # libzmq asks again when it connects
    v4 = sorted({entry[4][0] for entry in found if entry[0] == socket.AF_INET})
    v6 = sorted({entry[4][0] for entry in found if entry[0] == socket.AF_INET6})
    # A host of both families has an address of each: they are not two proxies.
    return [f"tcp://{each}:{port}" for each in v4] or [f"tcp://[{each}]:{port}" for each in v6]
