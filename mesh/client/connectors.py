"""Chooses the transport for an address."""

import ssl as ssl_module
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit

import zmq

from mesh.addresses import check_address
from mesh.client.base import Connector
from mesh.client.query_strings import without_secrets
from mesh.client.websocket import WebSocketConnector
from mesh.client.zeromq import ZeroMQConnector
from mesh.errors import SettingsError
from mesh.zeromq.sockets import ClientCurve

KEY_CHARACTERS = 40


def make_connector(
    address: str,
    *,
    path: str,
    headers: Mapping[str, str] | None,
    ssl: ssl_module.SSLContext | None,
    auth_token: Callable[[], Awaitable[str | None]] | None,
    server_key: str | None,
    public_key: str | None,
    secret_key: str | None,
    timeout_seconds: float,
    max_message_bytes: int,
) -> Connector:
    """Return the connector for an address.

    Raises:
        SettingsError: if the address is invalid, or an option does not apply to it.
    """
    scheme, separator, _ = address.partition("://")
    if separator and scheme in ("ws", "wss"):
        _require_none("over WebSocket", server_key=server_key, public_key=public_key, secret_key=secret_key)
        _check_url(address)
        return WebSocketConnector(
            address, headers or {}, ssl, auth_token or _no_token, timeout_seconds, max_message_bytes
        )
    if separator and scheme in ("tcp", "ipc"):
        _require_none("over ZeroMQ", auth_token=auth_token, headers=headers, ssl=ssl)
        check_address(address, "address")
        curve = _curve(server_key, public_key, secret_key)
        return ZeroMQConnector(address, path, curve, timeout_seconds, max_message_bytes)
    raise SettingsError(
        f"address {without_secrets(address)!r}: want ws://HOST:PORT/PATH, wss://…, tcp://HOST:PORT or ipc://PATH"
    )


async def _no_token() -> None:
    """Return no token."""


def _check_url(address: str) -> None:
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(
            f"address {without_secrets(address)!r} has no usable host and port; want ws://HOST:PORT/PATH"
        )


def _require_none(where: str, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise SettingsError(f"{', '.join(given)}: not available {where}")


def _curve(server_key: str | None, public_key: str | None, secret_key: str | None) -> ClientCurve | None:
    if server_key is None:
        _require_none("without a server_key", public_key=public_key, secret_key=secret_key)
        return None
    if (public_key is None) is not (secret_key is None):
        raise SettingsError("public_key and secret_key are a pair: give both, or neither for a new pair")
    if public_key is None or secret_key is None:
        public, secret = zmq.curve_keypair()
    else:
        public, secret = _key("public_key", public_key), _key("secret_key", secret_key)
    return ClientCurve(_key("server_key", server_key), public, secret)


def _key(name: str, key: str) -> bytes:
    if len(key) != KEY_CHARACTERS or not key.isascii():
        shown = f"{key[:4]}…" if name != "secret_key" else "…"
        raise SettingsError(
            f"{name} {shown!r} has {len(key)} characters; a CURVE key is {KEY_CHARACTERS} characters of Z85"
        )
    return key.encode()
