"""Every error that Channelmesh raises deliberately, and the close codes that it sends.

MeshError
├── SettingsError            a setting is invalid (fault of the operator)
├── ApplicationError         the application cannot be loaded, or is declared incorrectly
│   ├── RouteError           an invalid, duplicate or shadowed route
│   └── ChannelError         a Channel is declared or used incorrectly
│       ├── NotJoinedError   push, broadcast or reply before join has returned
│       ├── PayloadError     a payload that cannot be encoded for this client
│       ├── AlreadyTrackedError   Presence.track of a key that is already tracked
│       ├── NotTrackedError  Presence.update of a key that is not tracked
│       └── UnhandledEventError   no handler for this event: the channel crashes, as in Phoenix
├── TokenError               a token that cannot be verified (fault of the client)
│   ├── MissingTokenError    there is no token
│   ├── InvalidTokenError    it is forged, damaged, or for another purpose
│   └── ExpiredTokenError    it has expired
├── TopicError               an invalid topic
├── RemoteProtocolError      a peer violated a protocol (fault of the peer)
│   ├── DecodeError          a message that the client's serializer cannot decode
│   ├── WebSocketError       a client violated RFC 6455; contains the close code
│   └── WireError            invalid bytes on the bus or on a link
├── NodeGoneError            the node that was called has stopped; also a TimeoutError
├── EncodeError              a message that a serializer cannot express
├── ClientError              an operation of `mesh.client` failed
│   ├── ConnectError         the server cannot be reached, or the connection was lost
│   ├── ConnectRefused       the server refused the connection; has status and reason
│   ├── JoinRefused          the channel refused the join; has its response
│   ├── JoinTimeout          the join was not answered in time
│   ├── PushError            the channel replied with a status other than ok; has its response
│   ├── PushTimeout          a push was not answered in time
│   ├── PushLost             channel or connection ended before the reply: whether it was handled is unknown
│   ├── ChannelClosed        the channel was left or closed
│   └── BufferFull           too many pushes wait to be sent
├── PhaseError               an event that a phase table does not allow (fault of Channelmesh)
├── NodeError                a node cannot start or continue (a port in use, a lost proxy)
├── UnreachableError         the bus does not answer: what was to be published may be lost
└── HistoryUnavailableError  the history of a topic cannot be read now
"""

from enum import IntEnum
from typing import Any


class MeshError(Exception):
    """The root of every error raised by Channelmesh."""


class SettingsError(MeshError):
    """A setting has an invalid value; the message contains the setting, the value and the solution."""


class ApplicationError(MeshError):
    """The application cannot be loaded, or is declared incorrectly."""


class RouteError(ApplicationError):
    """A channel route that is invalid, a duplicate, or shadowed by an earlier one."""


class ChannelError(ApplicationError):
    """A Channel class or instance is declared or used incorrectly."""


class NotJoinedError(ChannelError):
    """push, broadcast and reply require a joined channel: use `after_join` instead of `join`."""


class PayloadError(ChannelError):
    """The payload cannot be sent: neither an object nor bytes, or not encodable for this client."""


class UnhandledEventError(ChannelError):
    """There is no handler for the event. As in Phoenix, the channel crashes and the client rejoins."""


class AlreadyTrackedError(ChannelError):
    """This channel already tracks this key on this topic: use `Presence.update`."""


class NotTrackedError(ChannelError):
    """This channel does not track this key on this topic: use `Presence.track`."""


class TokenError(MeshError):
    """A token cannot be verified; `refuse()` the client that sent it."""


class MissingTokenError(TokenError):
    """There is no token."""


class InvalidTokenError(TokenError):
    """The token is forged, damaged, for another purpose, or signed in the future."""


class ExpiredTokenError(TokenError):
    """The token has expired: the client needs a new one."""


class TopicError(MeshError):
    """The topic is invalid: reserved (`$…`), containing NUL, or not a string."""


class RemoteProtocolError(MeshError):
    """A peer violated a protocol."""


class DecodeError(RemoteProtocolError):
    """A client's message cannot be decoded; Phoenix closes such a connection with 1011."""


class WebSocketError(RemoteProtocolError):
    """A client violated RFC 6455; `code` is the close code that is sent to it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class WireError(RemoteProtocolError):
    """A message on the bus or on a link is not valid in our protocol (docs/protocol.md)."""


class NodeGoneError(MeshError, TimeoutError):
    """The node that was called is known to have stopped, so it will not answer."""


class EncodeError(MeshError):
    """A serializer cannot express a message (bytes for a V1 client, a field over 255 bytes)."""


class ClientError(MeshError):
    """An operation of `mesh.client` failed."""


class ConnectError(ClientError):
    """The server cannot be reached, or the connection to it was lost."""


class ConnectRefused(ClientError):  # noqa: N818
    """The server refused the connection.

    Attributes:
        status: an HTTP status, also over ZeroMQ: 403 refused by the application or unsupported vsn, 404 no
            such socket, 500 the application raised, 503 too many clients.
        reason: the server's reason; may be empty.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server refused the connection: {status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class JoinRefused(ClientError):  # noqa: N818
    """The channel refused the join; `response` contains its reason."""

    def __init__(self, topic: str, response: Any) -> None:
        super().__init__(f"the join of {topic!r} was refused: {response!r}")
        self.topic = topic
        self.response = response


class JoinTimeout(ClientError):  # noqa: N818
    """The join was not answered in time."""


class PushError(ClientError):
    """The channel replied with `response` and a `status` other than ok."""

    def __init__(self, topic: str, event: str, status: str, response: Any) -> None:
        super().__init__(f"{event!r} on {topic!r} was answered with status {status}: {response!r}")
        self.status = status
        self.response = response


class PushTimeout(ClientError):  # noqa: N818
    """A push was not answered in time; it may have been handled."""


class PushLost(ClientError):  # noqa: N818
    """The channel or connection ended before the reply; the push may or may not have been handled."""


class ChannelClosed(ClientError):  # noqa: N818
    """The channel was left or closed: join again."""


class BufferFull(ClientError):  # noqa: N818
    """Too many pushes wait to be sent (`max_buffered`)."""


class PhaseError(MeshError):
    """An event that a phase table does not allow: our defect. Ends only the object concerned."""


class NodeError(MeshError):
    """A node cannot start or continue."""


class UnreachableError(MeshError):
    """The bus does not answer; `lost` is true if what was published may be lost."""

    def __init__(self, message: str, lost: bool = False) -> None:
        super().__init__(message)
        self.lost = lost


class HistoryUnavailableError(MeshError):
    """The history of a topic cannot be read or changed now: no worker records it, or the store fails."""


class CloseCode(IntEnum):
    """WebSocket close codes that we send (RFC 6455 §7.4.1). phoenix.js reconnects after all but 1000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """A `disconnect` broadcast on the socket's id; the client may reconnect."""
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    """Text that is not valid UTF-8 (RFC 6455 §8.1)."""
    POLICY_VIOLATION = 1008
    """A message with more frames than the limit."""
    TOO_BIG = 1009
    """A frame or message larger than the limit."""
    INTERNAL_ERROR = 1011
    """A message that the serializer cannot decode, as in Phoenix."""
    TRY_AGAIN_LATER = 1013
    """A ZeroMQ client sends more than may wait for its pending joins."""
    SERVICE_RESTART = 1012
    """The gateway is stopping; the client should reconnect elsewhere."""
