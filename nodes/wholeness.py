"""Whether a whole cluster works: every node is there, hears every proxy, and every gateway is ready."""

import asyncio
import ssl
import urllib.request
from collections import Counter
from collections.abc import Sequence

from mesh.connection import Connection, connect
from mesh.errors import NodeError

PATIENCE_SECONDS = 60.0
LISTEN_SECONDS = 1.2
"""Every node announces itself each second."""


async def until_whole(
    proxies: Sequence[str], gateways: Sequence[str], workers: int, seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once all these nodes work together.

    Args:
        proxies: their addresses.
        gateways: the URL of each one's own port.
        workers: how many there are.
        seconds: that it may take.

    Raises:
        NodeError: if it takes longer.
    """
    try:
        async with asyncio.timeout(seconds), connect(*proxies) as connection:
            while not await _is_whole(connection, proxies, gateways, workers):
                pass  # listening took its time
    except TimeoutError:
        raise NodeError(f"the cluster is not whole after {seconds:g} seconds") from None


async def _is_whole(
    connection: Connection, proxies: Sequence[str], gateways: Sequence[str], workers: int
) -> bool:
    found = await connection.nodes(LISTEN_SECONDS)
    hearing = Counter(each.kind for each in found if set(each.proxies or ()) >= set(proxies))
    if hearing != Counter(gateway=len(gateways), worker=workers):
        return False
    ready = await asyncio.gather(*(asyncio.to_thread(_is_ready, url) for url in gateways))
    return all(ready)


def _is_ready(url: str) -> bool:
    # Our own gateway on this machine: whom its certificate names is not the question.
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(  # noqa: S310  (the URL is ours)
            f"{url}/readyz", timeout=LISTEN_SECONDS, context=trusting
        ) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
