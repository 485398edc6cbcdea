"""Signed tokens with an age: what a page or an API hands out, and `SocketHandler.connect` verifies.

Source: Phoenix.Token. Over itsdangerous (HMAC-SHA256): JSON that everybody can read and nobody can forge.
A token's characters are safe in URLs and, through phoenix.js's `authToken`, in Sec-WebSocket-Protocol.
"""

import hashlib
from typing import Any

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from mesh.errors import ExpiredTokenError, InvalidTokenError, MissingTokenError, SettingsError

DEFAULT_MAX_AGE_SECONDS = 86_400
MIN_SECRET_BYTES = 20
MAX_TOKEN_BYTES = 8_000
CLOCK_SKEW_SECONDS = 60
"""By how much the clock of the machine that signed may be ahead of ours."""


def sign(
    secret: str,
    salt: str,
    data: Any,
    *,
    max_age_seconds: float = DEFAULT_MAX_AGE_SECONDS,
    signed_at: float | None = None,
) -> str:
    """A token that carries `data`, any JSON value, readable by everybody who has it.

    Args:
        secret: of at least 20 bytes, e.g. `endpoint.secret`.
        salt: what the token is for ("user socket"): one for another purpose does not verify.
        data: small: a user's id, not the user.
        max_age_seconds: how long it is valid, unless `verify` says otherwise.
        signed_at: Unix time, by default now.

    Raises:
        SettingsError: if the secret is too short.
        TypeError: if `data` is no JSON value.
    """
    return str(_serializer(secret, salt, signed_at).dumps([data, max_age_seconds]))


def verify(
    secret: str, salt: str, token: object, *, max_age_seconds: float | None = None, now: float | None = None
) -> Any:
    """The data of a token that `sign` made with the same secret and salt.

    Args:
        secret: as in `sign`.
        salt: as in `sign`.
        token: what the client sent; None if it sent none.
        max_age_seconds: overrides the token's own; `float("inf")` for ever, 0 or less never.
        now: Unix time, by default now.

    Raises:
        MissingTokenError: for None.
        InvalidTokenError: if it is forged, damaged, for another purpose, or over a minute from the future.
        ExpiredTokenError: if it is too old.
    """
    if token is None:
        raise MissingTokenError("no token was given")
    if not isinstance(token, str) or len(token) > MAX_TOKEN_BYTES:
        raise InvalidTokenError(f"a token is a string of at most {MAX_TOKEN_BYTES} characters")
    serializer = _serializer(secret, salt, now)
    try:
        (data, own_max_age), signed = serializer.loads(token, return_timestamp=True)
        limit = float(own_max_age) if max_age_seconds is None else max_age_seconds
    except (BadData, ValueError, TypeError):
        raise InvalidTokenError("the token is not ours, or not for this purpose") from None
    age = serializer.now() - signed.timestamp()
    if age < -CLOCK_SKEW_SECONDS:
        raise InvalidTokenError("the token was signed in the future; compare the clocks")
    if limit <= 0 or age > limit:
        raise ExpiredTokenError(f"the token is {age:.0f} seconds old; it was valid for {limit:g}")
    return data


class _Serializer(URLSafeTimedSerializer):
    """At a given time."""

    def __init__(self, secret: str, salt: str, at: float | None) -> None:
        self._at = at

        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(at) if at is not None else super().get_timestamp()

        super().__init__(
            secret,
            salt=b"channelmesh.token:" + salt.encode(),
            signer=Signer,
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def now(self) -> int:
        signer = self.make_signer()
        assert isinstance(signer, TimestampSigner)
        return signer.get_timestamp()


def _serializer(secret: str, salt: str, at: float | None) -> _Serializer:
    if len(secret.encode()) < MIN_SECRET_BYTES:
        raise SettingsError(
            f"a secret of {len(secret.encode())} bytes; at least {MIN_SECRET_BYTES} are wanted:"
            " set MESH_SECURITY__SECRET_KEY, e.g. to what `openssl rand -hex 32` prints"
        )
    return _Serializer(secret, salt, at)
