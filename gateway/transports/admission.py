"""Admits clients on every transport: checks vsn, then asks the socket handler's `connect` and `id`.

For each connection, the application's code runs in its own execution context (mesh/contexts.py). Exceptions
are logged in the same context, so that an error reporter finds there what `connect` has set.
Source: Phoenix.Socket.__connect__.
"""

from collections.abc import Awaitable, Callable
from contextvars import Context
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from mesh import cancellation, contexts, telemetry
from mesh.app import topics
from mesh.app.mount import Mount
from mesh.app.replies import Reply
from mesh.app.socket_handler import ConnectInfo, SocketHandler
from mesh.errors import MeshError, RemoteProtocolError, TopicError
from mesh.protocol.serializers.base import Serializer
from mesh.protocol.serializers.registry import DEFAULT_VSN, negotiate
from mesh.telemetry import get_logger

log = get_logger(__name__)

MAX_ASSIGNS_BYTES = 100_000


class RefusedError(MeshError):
    """The client is refused, with an HTTP status and, for status 400, a sentence."""

    def __init__(self, status: int, sentence: str = "") -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Admitted(NamedTuple):
    """A client that may connect.

    Attributes:
        serializer: the serializer for its vsn and format.
        socket_id: the result of the handler's `id`.
        assigns: the handler's assigns, encoded as msgpack.
        subprotocol: the sub-protocol to answer with, if any.
    """

    serializer: Serializer
    socket_id: str | None
    assigns: bytes
    subprotocol: str | None


async def admit(
    mount: Mount, info: ConnectInfo, params: dict[str, Any], subprotocol: str | None = None
) -> Admitted:
    """Ask the mount's handler, in its own context. Raises RefusedError."""
    answer = in_own_context(call_connect, mount, info, params, subprotocol)
    return await answer if isinstance(answer, Awaitable) else answer


def in_own_context(
    admission: Callable[..., Admitted | Awaitable[Admitted]], *arguments: Any
) -> Admitted | Awaitable[Admitted]:
    """Call `admission` in its own context; an awaitable that it returns runs there as well.

    Raises:
        RefusedError: as `admission` raises it, or with status 500, as in Phoenix, for any other exception.
    """
    context = contexts.fresh()
    try:
        answer = context.run(admission, *arguments)
    except RefusedError:
        raise
    except BaseException as error:
        if cancellation.must_propagate(error):
            raise
        raise _crashed(context, error) from None
    return answer if isinstance(answer, Admitted) else _awaited(context, answer)


async def _awaited(context: Context, answer: Awaitable[Admitted]) -> Admitted:
    try:
        return await contexts.await_in(context, answer)
    except RefusedError:
        raise
    except BaseException as error:
        if cancellation.must_propagate(error):
            raise
        raise _crashed(context, error) from None


def _crashed(context: Context, error: BaseException) -> RefusedError:
    context.run(log.error, "connect raised", exc_info=error)
    return RefusedError(500)


def call_connect(
    mount: Mount, info: ConnectInfo, params: dict[str, Any], subprotocol: str | None = None
) -> Admitted | Awaitable[Admitted]:
    """As `admit`, in the current context; exceptions of the application's code propagate.

    Returns the result itself unless the handler's `connect` must be awaited.
    """
    try:
        serializer = negotiate(params.get("vsn", DEFAULT_VSN), params.get("format"))
    except RemoteProtocolError as error:
        log.warning("connection refused", reason=str(error))
        raise RefusedError(403) from None
    call = _ConnectCall(mount.handler(), info.transport, serializer, params, subprotocol, perf_counter())
    result = call.handler.connect(params, info)
    return _await_connect(call, result) if isinstance(result, Awaitable) else _decide(call, result)


class _ConnectCall(NamedTuple):
    """A handler, and the arguments of its admission."""

    handler: SocketHandler
    transport: str
    serializer: Serializer
    params: dict[str, Any]
    subprotocol: str | None
    started: float


async def _await_connect(call: _ConnectCall, result: Awaitable[Any]) -> Admitted:
    return _decide(call, await result)


def _decide(call: _ConnectCall, result: Any) -> Admitted:
    handler = call.handler
    if not _accepts(handler, result):
        _report(call, None, "refused")
        raise RefusedError(403)
    try:
        socket_id = _check_id(handler)
        assigns = _encode_assigns(handler.assigns)
    except (TopicError, TypeError, ValueError, msgspec.MsgspecError) as error:
        log.warning("connection refused", handler=type(handler).__name__, reason=str(error))
        raise RefusedError(403) from None
    _report(call, socket_id, "ok")
    return Admitted(call.serializer, socket_id, assigns, call.subprotocol)


def _accepts(handler: SocketHandler, result: Any) -> bool:
    """Return whether the result of `connect` accepts the client."""
    if result is False or (isinstance(result, Reply) and result.status == "error"):
        return False
    if result is not None and result is not True:
        log.error(
            "connect returned neither None, True, False nor refuse()",
            handler=type(handler).__name__,
            returned=repr(result)[:100],
        )
        return False
    return True


def _report(call: _ConnectCall, socket_id: str | None, result: str) -> None:
    handler = call.handler
    duration = perf_counter() - call.started
    metadata = {
        "handler": type(handler).__name__,
        "transport": call.transport,
        "serializer": call.serializer.name,
        "socket_id": socket_id,
    }
    line = "connected" if result == "ok" else "connection refused"
    level = handler.log
    if level and telemetry.enabled(level) and not log.suppress(level, line):
        getattr(log, level)(
            line,
            **metadata,
            milliseconds=telemetry.milliseconds(duration),
            params=telemetry.filtered(call.params),
        )
    if telemetry.attached("socket_connected"):
        telemetry.emit("socket_connected", {"duration": duration}, {**metadata, "result": result})


def _check_id(handler: SocketHandler) -> str | None:
    socket_id = handler.id()
    return None if socket_id is None else topics.check(socket_id)


def _encode_assigns(assigns: dict[str, Any]) -> bytes:
    encoded = msgspec.msgpack.encode(assigns)
    if len(encoded) > MAX_ASSIGNS_BYTES:
        raise ValueError(
            f"assigns of {len(encoded)} bytes; every join carries them, so {MAX_ASSIGNS_BYTES} are allowed"
        )
    return encoded
