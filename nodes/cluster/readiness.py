"""Waits until a cluster is ready: every node is connected to every proxy, and every gateway is ready.

If time runs out, the error names what is missing.
"""

import asyncio
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple

from mesh.bus.discovery.placement import Announcement
from mesh.errors import NodeError, UnreachableError
from mesh.pubsub_connection import Connection, connect
from mesh.zeromq.name_resolution import resolve

PATIENCE_SECONDS = 60.0
LISTEN_SECONDS = 1.2
"""Long enough to hear every node, which announces itself each second."""
CONNECT_SECONDS = 2.0
"""The time for one attempt to reach a proxy; attempts are repeated."""
RETRY_SECONDS = 0.2
MAX_ANSWER_BYTES = 100_000


class Asked(NamedTuple):
    """A gateway's answer about itself.

    Attributes:
        node: its id; None if it does not answer.
        problem: why it is not ready; None if it is.
    """

    node: str | None
    problem: str | None


async def wait_until_ready(
    proxies: Sequence[str], gateways: Sequence[str], workers: int, seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once all these nodes are ready.

    Args:
        proxies: the proxies' addresses, which may contain names.
        gateways: the URL of each gateway's own port.
        workers: the number of workers.
        seconds: the time limit, including the wait for a proxy that is not up yet.

    Raises:
        NodeError: if it takes longer; it names what is missing.
    """
    wrong = [f"no answer yet from {', '.join(proxies)}"]
    try:
        async with asyncio.timeout(seconds):
            while wrong:
                wrong[:] = await _try(proxies, gateways, workers, wrong)
    except TimeoutError:
        missing = "; ".join(wrong)
        raise NodeError(f"the cluster is not ready after {seconds:g} seconds: {missing}") from None


async def _try(
    proxies: Sequence[str], gateways: Sequence[str], workers: int, wrong: list[str]
) -> list[str]:
    """Return what is missing; while connected, check repeatedly and keep `wrong` current."""
    try:
        async with connect(*proxies, timeout_seconds=CONNECT_SECONDS) as connection:
            while True:
                addresses = [each for proxy in proxies for each in await resolve(proxy)]
                wrong[:] = await _missing(connection, addresses, gateways, workers)
                if not wrong:
                    return []
    except (UnreachableError, NodeError) as error:
        await asyncio.sleep(RETRY_SECONDS)
        return [str(error)]


async def _missing(
    connection: Connection, proxies: Sequence[str], gateways: Sequence[str], workers: int
) -> list[str]:
    found = await connection.nodes(LISTEN_SECONDS)
    asked = await asyncio.gather(*(asyncio.to_thread(_ask, url) for url in gateways))
    return missing(found, dict(zip(gateways, asked, strict=True)), proxies, workers)


def missing(
    found: Sequence[Announcement], gateways: dict[str, Asked], proxies: Sequence[str], workers: int
) -> list[str]:
    """Return one sentence for each problem."""
    wrong = [f"{url}: {asked.problem}" for url, asked in gateways.items() if asked.problem is not None]
    here = sum(each.kind == "worker" for each in found)
    if here < workers:
        wrong.append(f"{here} of {workers} workers are up")
    elif here > workers:
        wrong.append(f"{here} workers are up, but --workers is {workers}")
    announced = {each.node for each in found}
    answered = {asked.node for asked in gateways.values()}
    wrong += [
        f"{url} ({asked.node}) has not announced itself on the bus"
        for url, asked in gateways.items()
        if asked.node is not None and asked.node not in announced
    ]
    for each in found:
        if each.kind == "gateway" and each.node not in answered and None not in answered:
            where = f" at {', '.join(each.urls)}" if each.urls else ""
            wrong.append(f"{each.node}{where} is not listed with --gateway")
        unconnected = [proxy for proxy in proxies if proxy not in (each.proxies or ())]
        if unconnected:
            wrong.append(f"{each.node} is not connected to {', '.join(unconnected)}")
    return wrong


def _ask(url: str) -> Asked:
    # The certificate is not verified: nothing secret is sent, and the URL may name another host.
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(  # noqa: S310  (the URL is the caller's)
            f"{url}/readyz", timeout=LISTEN_SECONDS, context=trusting
        ) as answer:
            return Asked(_node(answer.read(MAX_ANSWER_BYTES)), None)
    except urllib.error.HTTPError as error:
        body = _read(error)
        return Asked(_node(body), f"not ready: {_why(body) or error.code}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return Asked(None, f"does not answer ({str(getattr(error, 'reason', error))[:200]})")


def _read(error: urllib.error.HTTPError) -> bytes:
    try:
        with error:
            return error.read(MAX_ANSWER_BYTES)
    except (OSError, ValueError, http.client.HTTPException):
        return b""  # it ended, or stopped sending, during its answer


def _node(body: bytes) -> str | None:
    node = _answer(body).get("node")
    return node if isinstance(node, str) else None


def _why(body: bytes) -> str:
    wrong = _answer(body).get("wrong")
    return "; ".join(map(str, wrong.values())) if isinstance(wrong, dict) else ""


def _answer(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
