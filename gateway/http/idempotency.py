"""Idempotency-Keys: what a request published is not published again when the client repeats it.

The keys that a gateway has used travel to the other gateways on `$once`, behind what was published with
them, so a client may repeat its request at any gateway, also after the first one died. Two gateways that
are asked within the same few milliseconds may both publish.
"""

from hashlib import blake2b
from typing import NamedTuple

import msgspec

from mesh.errors import WireError

MAX_KEY_CHARACTERS = 255


class Used(NamedTuple):
    """What was published with a key.

    Attributes:
        fingerprint: of the request.
        published: how many messages.
        at: when, in seconds of the clock given.
    """

    fingerprint: bytes
    published: int
    at: float


class IdempotencyKeys:
    """The keys used lately, bounded in time and number. Time is an argument."""

    def __init__(self, seconds: float, max_keys: int) -> None:
        self._seconds = seconds
        self._max_keys = max_keys
        self._used: dict[str, Used] = {}  # the oldest first

    def find(self, key: str, now: float) -> Used | None:
        """What was published with `key`, if that was lately."""
        used = self._used.get(key)
        return used if used is not None and now - used.at < self._seconds else None

    def remember(self, key: str, fingerprint: bytes, published: int, now: float) -> None:
        """`key` was used. Beyond the bounds the oldest are forgotten."""
        self._used.pop(key, None)
        self._used[key] = Used(fingerprint, published, now)
        while self._used:
            oldest = next(iter(self._used))
            if len(self._used) <= self._max_keys and now - self._used[oldest].at < self._seconds:
                return
            del self._used[oldest]


def digest(*parts: bytes) -> bytes:
    """16 bytes that stand for these parts, and for no others."""
    made = blake2b(digest_size=16)
    for part in parts:
        made.update(len(part).to_bytes(8, "big") + part)
    return made.digest()


def encode(fingerprint: bytes, published: int) -> bytes:
    """What the other gateways are told of a key: its payload on `$once`."""
    return msgspec.msgpack.encode((fingerprint, published))


_decode = msgspec.msgpack.Decoder(tuple[bytes, int]).decode


def decode(data: bytes) -> tuple[bytes, int]:
    """Read it. Raises WireError."""
    try:
        return _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(f"not an Idempotency-Key's fingerprint: {error}") from None
