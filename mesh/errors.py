"""Every error that Channelmesh raises on purpose, and the close codes it sends.

MeshError
├── SettingsError            a setting is unusable (whose fault: the operator)
├── ApplicationError         the application object cannot be loaded or is declared wrongly
│   ├── RouteError           an unusable, doubled or shadowed route
│   └── ChannelError         a Channel was declared or used wrongly
│       ├── NotJoinedError   push, broadcast or reply before join has returned
│       ├── PayloadError     a payload that this client's serializer cannot carry
│       ├── AlreadyTrackedError   Presence.track of what is tracked already
│       ├── NotTrackedError  Presence.update of what is not tracked
│       └── UnhandledEventError   no handler takes this event: the channel crashes, as in Phoenix
├── TokenError               a token that does not verify (whose fault: the client)
│   ├── MissingTokenError    none was given
│   ├── InvalidTokenError    it is forged, damaged, or for another purpose
│   └── ExpiredTokenError    it is too old
├── TopicError               a topic that cannot be used
├── RemoteProtocolError      a peer sent bytes that break a protocol (whose fault: the peer)
│   ├── DecodeError          a client's message its serializer cannot read
│   ├── WebSocketError       a client's bytes break RFC 6455; carries the close code
│   └── WireError            bytes on the bus or a link that are not of our protocol
├── NodeGoneError            a node that was asked something is gone; also a TimeoutError
├── EncodeError              a message that a serializer cannot express
├── ClientError              what a program asked of `mesh.client` did not succeed
│   ├── ConnectError         the server cannot be reached, or the connection was lost
│   ├── ConnectRefused       the server does not let this client in; carries status and reason
│   ├── JoinRefused          the channel refused the join; carries its response
│   ├── JoinTimeout          the join was not answered in time
│   ├── PushError            the channel replied with another status than ok; carries its response
│   ├── PushTimeout          a push was not answered in time
│   ├── PushLost             channel or connection ended before the reply: handled or not, nobody knows
│   ├── ChannelClosed        the channel is left or closed
│   └── BufferFull           more waits to be sent than may wait
├── PhaseError               an event that a table of phases does not allow (whose fault: ours)
├── NodeError                a node cannot start or go on (an occupied port, a lost proxy)
└── UnreachableError         the bus does not answer: what was to be published may not have been
"""

from enum import IntEnum
from typing import Any


class MeshError(Exception):
    """The root of every error raised by Channelmesh."""


class SettingsError(MeshError):
    """A setting has an unusable value; the message names the setting, the value and the way out."""


class ApplicationError(MeshError):
    """The application cannot be loaded or is declared wrongly."""


class RouteError(ApplicationError):
    """A channel route that is unusable, doubled, or shadowed by an earlier one."""


class ChannelError(ApplicationError):
    """A Channel class or instance was declared or used wrongly."""


class NotJoinedError(ChannelError):
    """push, broadcast and reply need a joined channel: use `after_join`, not `join`."""


class PayloadError(ChannelError):
    """The payload cannot be sent: neither an object nor bytes, or not expressible for this client."""


class UnhandledEventError(ChannelError):
    """No handler takes the event. As in Phoenix the channel crashes and the client rejoins."""


class AlreadyTrackedError(ChannelError):
    """This channel tracks this key on this topic already: use `Presence.update`."""


class NotTrackedError(ChannelError):
    """This channel does not track this key on this topic: use `Presence.track`."""


class TokenError(MeshError):
    """A token does not verify; `refuse()` the client that brought it."""


class MissingTokenError(TokenError):
    """No token was given."""


class InvalidTokenError(TokenError):
    """The token is forged, damaged, for another purpose, or signed in the future."""


class ExpiredTokenError(TokenError):
    """The token is too old: the client needs a new one."""


class TopicError(MeshError):
    """The topic cannot be used: reserved (`$…`), containing NUL, or not a string."""


class RemoteProtocolError(MeshError):
    """A peer broke a protocol."""


class DecodeError(RemoteProtocolError):
    """A client's message cannot be decoded; Phoenix closes such a connection with 1011."""


class WebSocketError(RemoteProtocolError):
    """A client broke RFC 6455; `code` is the close code it is answered with."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class WireError(RemoteProtocolError):
    """A message on the bus or on a link that is not of our protocol."""


class NodeGoneError(MeshError, TimeoutError):
    """The node that was asked is known to be gone: nobody need wait for its answer."""


class EncodeError(MeshError):
    """A serializer cannot express a message (bytes for a V1 client, a field over 255 bytes)."""


class ClientError(MeshError):
    """What a program asked of `mesh.client` did not succeed."""


class ConnectError(ClientError):
    """The server cannot be reached, or the connection to it was lost."""


class ConnectRefused(ClientError):  # noqa: N818
    """The server does not let this client in.

    Attributes:
        status: as of HTTP, also over ZeroMQ: 403 by the application or for its vsn, 404 no such socket,
            500 the application raised, 503 too many clients.
        reason: the server's, may be empty.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the server refused the connection: {status} {reason}".rstrip())
        self.status = status
        self.reason = reason


class JoinRefused(ClientError):  # noqa: N818
    """The channel refused the join; `response` is its reason."""

    def __init__(self, topic: str, response: Any) -> None:
        super().__init__(f"{topic!r} cannot be joined: {response!r}")
        self.topic = topic
        self.response = response


class JoinTimeout(ClientError):  # noqa: N818
    """The join was not answered in time."""


class PushError(ClientError):
    """The channel replied with `status`, which is not ok, and `response`."""

    def __init__(self, topic: str, event: str, status: str, response: Any) -> None:
        super().__init__(f"{event!r} on {topic!r} was answered {status}: {response!r}")
        self.status = status
        self.response = response


class PushTimeout(ClientError):  # noqa: N818
    """A push was not answered in time; it may be handled all the same."""


class PushLost(ClientError):  # noqa: N818
    """Channel or connection ended before the reply: the push was handled or not, nobody knows."""


class ChannelClosed(ClientError):  # noqa: N818
    """The channel is left or closed: join again."""


class BufferFull(ClientError):  # noqa: N818
    """More waits to be sent than may wait (`max_buffered`)."""


class PhaseError(MeshError):
    """An event that a table of phases does not allow: a defect of ours. Ends the one thing it is about."""


class NodeError(MeshError):
    """A node cannot start or go on."""


class UnreachableError(MeshError):
    """The bus does not answer; `lost` tells whether what was published may be lost."""

    def __init__(self, message: str, lost: bool = False) -> None:
        super().__init__(message)
        self.lost = lost


class CloseCode(IntEnum):
    """WebSocket close codes we send (RFC 6455 §7.4.1). phoenix.js reconnects after all but 1000."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """A `disconnect` broadcast on the socket's id topic; the client may come back."""
    PROTOCOL_ERROR = 1002
    INVALID_TEXT = 1007
    """Text that is not UTF-8."""
    POLICY_VIOLATION = 1008
    """A message in more frames than the limit."""
    TOO_BIG = 1009
    """A frame or message beyond the limit."""
    INTERNAL_ERROR = 1011
    """A message that the serializer cannot decode, as in Phoenix."""
    TRY_AGAIN_LATER = 1013
    """A ZeroMQ client that sends more than can wait for its pending joins."""
    SERVICE_RESTART = 1012
    """The gateway is going down; reconnect elsewhere."""
