"""Admits ZeroMQ clients, with one task for each, from OPEN to the answer."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from mesh.app.endpoint import Endpoint
from mesh.app.mount import Mount
from mesh.app.socket_handler import ConnectInfo
from mesh.gateway.http.paths import without_empty_segments
from mesh.gateway.hub import Hub
from mesh.gateway.transports.admission import RefusedError, admit
from mesh.gateway.transports.client_connection import ClientGoneError, id_subscribed
from mesh.gateway.transports.zeromq.client import ZeroMQClient
from mesh.gateway.transports.zeromq.messages import ENCODINGS, OPEN, REFUSED, read_opening
from mesh.telemetry import counters

SendControl = Callable[[bytes, bytes, dict[str, Any]], None]


class Openings:
    """The admissions in progress of a gateway.

    Args:
        hub: receives the admitted clients.
        endpoint: the application's endpoint.
        address: the address clients connect to.
        idle_seconds: the idle time-out, which an admitted client is told.
        send_control: sends a client a control message.
    """

    def __init__(
        self, hub: Hub, endpoint: Endpoint, address: str, idle_seconds: float, send_control: SendControl
    ) -> None:
        self._hub = hub
        self._mounts = [(mount.pattern, mount) for mount in endpoint.mounts.values()]
        self._address = address
        self._idle_seconds = idle_seconds
        self._send_control = send_control
        self._tasks: dict[ZeroMQClient, asyncio.Task[None]] = {}
        self._cancelled: set[asyncio.Task[None]] = set()

    @property
    def cancelled(self) -> int:
        """The number of cancelled admissions that have not ended yet, because `connect` still runs."""
        return len(self._cancelled)

    def start(self, client: ZeroMQClient, data: bytes) -> None:
        """Admit a client, or tell it why it is refused."""
        task = asyncio.get_running_loop().create_task(self._open(client, data), name="zeromq client")
        self._tasks[client] = task
        task.add_done_callback(partial(self._ended, client))

    def cancel(self, client: ZeroMQClient) -> None:
        """Cancel the admission of a client that is gone, if it is in progress."""
        task = self._tasks.get(client)
        if task is not None and task is not asyncio.current_task():
            self._cancelled.add(task)
            task.cancel()

    def close(self) -> None:
        """Cancel all admissions."""
        for task in self._tasks.values():
            task.cancel()

    def refuse(self, identity: bytes, status: int, reason: str) -> None:
        """Tell a client that it is refused."""
        counters.count("connections_refused")
        self._send_control(identity, REFUSED, {"status": status, "reason": reason})

    def _ended(self, client: ZeroMQClient, task: asyncio.Task[None]) -> None:
        del self._tasks[client]
        self._cancelled.discard(task)

    async def _open(self, client: ZeroMQClient, data: bytes) -> None:
        try:
            mount, params = self._find(data)
            del data  # it would be kept while `connect` runs
            info = ConnectInfo(
                transport=client.name, uri=self._address + mount.path, extra=mount.connect_info
            )
            admitted = await admit(mount, info, params)
            async with id_subscribed(self._hub, admitted):
                if client.ended:
                    raise ClientGoneError(f"client {client.identity!r} is gone")
                self._send_control(client.identity, OPEN, {"idle_timeout_seconds": self._idle_seconds})
                client.admit(mount, admitted, ENCODINGS[admitted.serializer])
        except ClientGoneError:
            pass
        except RefusedError as refused:
            if not client.ended:  # its identity may belong to another client by now
                client.lost()
                reason = "connect raised" if refused.status == 500 else refused.sentence or "refused"
                self.refuse(client.identity, refused.status, reason)

    def _find(self, data: bytes) -> tuple[Mount, dict[str, Any]]:
        opening = read_opening(data)
        path = without_empty_segments(opening.path)
        for pattern, mount in self._mounts:
            match = pattern.fullmatch(path)
            if match is not None and mount.zeromq:
                return mount, opening.params | match.groupdict()
        raise RefusedError(404, f"no socket at {opening.path[:80]!r}")
