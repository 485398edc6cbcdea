"""Idempotency keys: a repeated request does not publish its messages again.

A gateway sends the keys it has used to the other gateways on `$once`, after the messages published with
them. So a client may repeat its request at any gateway, even after the first one has died. Two gateways
that receive the same request within a few milliseconds may both publish.
"""

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from mesh.errors import WireError

MAX_KEY_CHARACTERS = 255


class Used(NamedTuple):
    """What was published with a key.

    Attributes:
        fingerprint: the digest of the request.
        published: the number of messages.
        at: when, in seconds of the caller's clock.
    """

    fingerprint: bytes
    published: int
    at: float


class IdempotencyKeys:
    """The recently used keys, limited by age and number. Time is an argument."""

    def __init__(self, seconds: float, max_keys: int) -> None:
        self._seconds = seconds
        self._max_keys = max_keys
        self._used: dict[str, Used] = {}  # the oldest first

    def find(self, key: str, now: float) -> Used | None:
        """Return what was published with `key`, or None if it was not used recently."""
        used = self._used.get(key)
        return used if used is not None and now - used.at < self._seconds else None

    def remember(self, key: str, fingerprint: bytes, published: int, now: float) -> None:
        """Note that `key` was used. Beyond the limits, the oldest keys are forgotten."""
        self._used.pop(key, None)
        self._used[key] = Used(fingerprint, published, now)
        while self._used:
            oldest = next(iter(self._used))
            if len(self._used) <= self._max_keys and now - self._used[oldest].at < self._seconds:
                return
            del self._used[oldest]


def digest(*parts: bytes) -> bytes:
    """Return a 16-byte digest of the parts; it depends on where one ends and the next begins."""
    hasher = blake2b(digest_size=16)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big") + part)
    return hasher.digest()


def encode(fingerprint: bytes, published: int) -> bytes:
    """Encode what the other gateways must know of a key: the payload on `$once`."""
    return msgspec.msgpack.encode((fingerprint, published))


_decode = msgspec.msgpack.Decoder(tuple[bytes, int]).decode


def decode(data: bytes) -> tuple[bytes, int]:
    """Decode such a payload. Raises WireError."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not an Idempotency-Key's fingerprint: {error}") from None
