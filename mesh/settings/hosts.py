"""Settings that name hosts and networks."""

import json
from ipaddress import ip_network
from typing import Annotated, Any

from mesh.settings.values import Check, Split, StringList


def _split(text: str) -> list[Any]:
    """Split `a,b`, a JSON list, or a single host. `[::1]` is a host, not a list."""
    try:
        read = json.loads(text) if text.lstrip().startswith("[") else None
    except ValueError:
        read = None
    if isinstance(read, list):
        return read
    return [each.strip() for each in text.split(",") if each.strip()]


def _check_hosts(hosts: list[str]) -> list[str]:
    """Return the hosts without URL brackets and duplicates. Raises ValueError."""
    if not hosts:
        raise ValueError("want at least one host")
    bare = [each[1:-1] if each.startswith("[") and each.endswith("]") else each for each in hosts]
    for given, host in zip(hosts, bare, strict=True):
        if not host or any(each in host for each in "[]/ \0"):
            raise ValueError(f"{given!r} is not a host; want for example '127.0.0.1', '::' or 'localhost'")
    return list(dict.fromkeys(bare))


Hosts = Annotated[list[str], Split(_split), Check(_check_hosts)]
"""One or more hosts to listen on."""


def _check_networks(networks: list[str]) -> list[str]:
    for each in networks:
        try:
            ip_network(each, strict=False)
        except ValueError:
            raise ValueError(f"{each!r} is not a network; want for example '10.0.0.0/8' or '::1'") from None
    return networks


Networks = Annotated[StringList, Check(_check_networks)]
"""IP addresses and networks."""
