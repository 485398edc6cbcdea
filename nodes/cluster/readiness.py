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

TIMEOUT_SECONDS = 60.0
LISTEN_SECONDS = 1.2
"""Long enough to hear every node, which announces itself each second."""
CONNECT_SECONDS = 2.0
"""The time for one attempt to reach a proxy; attempts are repeated."""
RETRY_SECONDS = 0.2
MAX_ANSWER_BYTES = 100_000


class GatewayStatus(NamedTuple):
    """A gateway's answer about itself.

    Attributes:
        node: its id; None if it does not answer.
        problem: why it is not ready; None if it is.
    """

    node: str | None
    problem: str | None


async def wait_until_ready(
    proxies: Sequence[str], gateways: Sequence[str], workers: int, seconds: float = TIMEOUT_SECONDS
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
    problems = [f"no answer yet from {', '.join(proxies)}"]
    try:
        async with asyncio.timeout(seconds):
            while problems:
                problems[:] = await _check(proxies, gateways, workers, problems)
    except TimeoutError:
        missing = "; ".join(problems)
        raise NodeError(f"the cluster is not ready after {seconds:g} seconds: {missing}") from None


async def _check(
    proxies: Sequence[str], gateways: Sequence[str], workers: int, problems: list[str]
) -> list[str]:
    """Return what is missing; while connected, check repeatedly and keep `problems` current."""
    try:
        async with connect(*proxies, timeout_seconds=CONNECT_SECONDS) as connection:
            while True:
                addresses = [each for proxy in proxies for each in await resolve(proxy)]
                problems[:] = await _missing(connection, addresses, gateways, workers)
                if not problems:
                    return []
    except (UnreachableError, NodeError) as error:
        await asyncio.sleep(RETRY_SECONDS)
        return [str(error)]


async def _missing(
    connection: Connection, proxies: Sequence[str], gateways: Sequence[str], workers: int
) -> list[str]:
    found = await connection.nodes(LISTEN_SECONDS)
    statuses = await asyncio.gather(*(asyncio.to_thread(_query, url) for url in gateways))
    return missing(found, dict(zip(gateways, statuses, strict=True)), proxies, workers)


def missing(
    found: Sequence[Announcement], gateways: dict[str, GatewayStatus], proxies: Sequence[str], workers: int
) -> list[str]:
    """Return one sentence for each problem."""
    problems = [
        f"{url}: {status.problem}" for url, status in gateways.items() if status.problem is not None
    ]
    up = sum(each.kind == "worker" for each in found)
    if up < workers:
        problems.append(f"{up} of {workers} workers are up")
    elif up > workers:
        problems.append(f"{up} workers are up, but --workers is {workers}")
    announced = {each.node for each in found}
    answered = {status.node for status in gateways.values()}
    problems += [
        f"{url} ({status.node}) has not announced itself on the bus"
        for url, status in gateways.items()
        if status.node is not None and status.node not in announced
    ]
    for each in found:
        if each.kind == "gateway" and each.node not in answered and None not in answered:
            where = f" at {', '.join(each.urls)}" if each.urls else ""
            problems.append(f"{each.node}{where} is not listed with --gateway")
        unconnected = [proxy for proxy in proxies if proxy not in (each.proxies or ())]
        if unconnected:
            problems.append(f"{each.node} is not connected to {', '.join(unconnected)}")
    return problems


def _query(url: str) -> GatewayStatus:
    # The certificate is not verified: nothing secret is sent, and the URL may name another host.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(  # noqa: S310  (the URL is the caller's)
            f"{url}/readyz", timeout=LISTEN_SECONDS, context=context
        ) as answer:
            return GatewayStatus(_node(answer.read(MAX_ANSWER_BYTES)), None)
    except urllib.error.HTTPError as error:
        body = _read_body(error)
        return GatewayStatus(_node(body), f"not ready: {_reasons(body) or error.code}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return GatewayStatus(None, f"does not answer ({str(getattr(error, 'reason', error))[:200]})")


def _read_body(error: urllib.error.HTTPError) -> bytes:
    try:
        with error:
            return error.read(MAX_ANSWER_BYTES)
    except (OSError, ValueError, http.client.HTTPException):
        return b""  # it ended, or stopped sending, during its answer


def _node(body: bytes) -> str | None:
    node = _decode_answer(body).get("node")
    return node if isinstance(node, str) else None


def _reasons(body: bytes) -> str:
    problems = _decode_answer(body).get("wrong")
    return "; ".join(map(str, problems.values())) if isinstance(problems, dict) else ""


def _decode_answer(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
