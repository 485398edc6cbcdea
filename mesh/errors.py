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
├── EncodeError              a message that a serializer cannot express
├── NodeError                a node cannot start or go on (an occupied port, a lost proxy)
└── UnreachableError         the bus does not answer: what was to be published may not have been
"""

from enum import IntEnum


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
    """A token does not verify; `refuse()` whoever brought it."""


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


class EncodeError(MeshError):
    """A serializer cannot express a message (bytes for a V1 client, a field over 255 bytes)."""


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
    TOO_BIG = 1009
    """A frame or message beyond the limit."""
    INTERNAL_ERROR = 1011
    """A message that the serializer cannot decode, as in Phoenix."""
    TRY_AGAIN_LATER = 1013
    """A ZeroMQ client that sends more than can wait for its pending joins."""
    SERVICE_RESTART = 1012
    """The gateway is going down; reconnect elsewhere."""
