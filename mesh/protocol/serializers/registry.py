"""Chooses the serializer for a client's `vsn`. Source: Phoenix.Socket.negotiate_serializer.

`vsn` must be a complete semantic version that matches `~> 1.0.0` or `~> 2.0.0`; if absent, it is 1.0.0.
"""

import re

from mesh.errors import RemoteProtocolError
from mesh.protocol.serializers.base import Serializer
from mesh.protocol.serializers.text_only import TextOnly
from mesh.protocol.serializers.v1_json import V1JSON
from mesh.protocol.serializers.v2_json import V2JSON
from mesh.protocol.serializers.v2_msgpack import V2Msgpack

DEFAULT_VSN = "1.0.0"

_NUMBER = r"(0|[1-9]\d*)"
_PRE = r"(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)"
# semver.org §2, §9, §10; \Z and ASCII, so that neither a newline nor non-ASCII digits match.
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(?:\.{_PRE})*)?(\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?\Z",
    re.ASCII,
)

MSGPACK_FORMAT = "msgpack"

SERIALIZERS: dict[tuple[str, str], Serializer] = {("1", "0"): V1JSON(), ("2", "0"): V2JSON()}
MSGPACK: Serializer = V2Msgpack()
BY_NAME: dict[str, Serializer] = {each.name: each for each in (*SERIALIZERS.values(), MSGPACK)}
TEXT_TRANSPORTS = frozenset({"longpoll"})
"""The names of the transports that can send clients only text; they encode with `TextOnly`."""
_TEXT_ONLY: dict[str, Serializer] = {name: TextOnly(each) for name, each in BY_NAME.items()}


def client_serializer(name: str, transport: str) -> Serializer:
    """Return the serializer of a client, with the limits of its transport; V2 JSON for an unknown name."""
    serializers = _TEXT_ONLY if transport in TEXT_TRANSPORTS else BY_NAME
    return serializers.get(name) or serializers["v2_json"]


def negotiate(vsn: object, format: object = None) -> Serializer:
    """Return the serializer for a client's `vsn` and `format` ("json", the default, or "msgpack").

    Raises:
        RemoteProtocolError: if the version is not supported; the connection is refused with 403.
    """
    match = _VERSION.match(vsn) if isinstance(vsn, str) else None
    if match is None:
        raise RemoteProtocolError(f"vsn {vsn!r} is not a version; want 2.0.0 (or 1.0.0)")
    major, minor, patch, pre, _build = match.groups()
    serializer = SERIALIZERS.get((major, minor))
    if serializer is None or (patch == "0" and pre):
        raise RemoteProtocolError(f"vsn {vsn!r} is not supported; want ~> 2.0.0 or ~> 1.0.0")
    if format is None or format == "json":
        return serializer
    if format == MSGPACK_FORMAT and major == "2":
        return MSGPACK
    raise RemoteProtocolError(f"format {format!r} is not supported; want json, or msgpack with vsn 2.0.0")
