"""Signed tokens that expire: a page or an API issues them, and `SocketHandler.connect` verifies them.

Source: Phoenix.Token. Implemented with itsdangerous (HMAC-SHA256): JSON that everybody can read and nobody
can forge. A token's characters are safe in URLs and, for phoenix.js's `authToken`, in
Sec-WebSocket-Protocol.
"""

import hashlib
from typing import Any

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from mesh.errors import ExpiredTokenError, InvalidTokenError, MissingTokenError, SettingsError

DEFAULT_MAX_AGE_SECONDS = 86_400
MIN_SECRET_BYTES = 20
MAX_TOKEN_BYTES = 8_000
CLOCK_SKEW_SECONDS = 60
"""How far the clock of the signing machine may be ahead of ours."""


def sign(
    secret: str,
    salt: str,
    data: Any,
    *,
    max_age_seconds: float = DEFAULT_MAX_AGE_SECONDS,
    signed_at: float | None = None,
) -> str:
    """Return a token with `data`, any JSON value. Everybody who has the token can read the data.

    Args:
        secret: at least 20 bytes, e.g. `endpoint.secret`.
        salt: the purpose of the token ("user socket"): tokens for another purpose are rejected.
        data: should be small: a user's id, not the user.
        max_age_seconds: how long the token is valid, unless `verify` overrides it.
        signed_at: a Unix time; by default the current time.

    Raises:
        SettingsError: if the secret is too short.
        TypeError: if `data` is not a JSON value.
    """
    return str(_serializer(secret, salt, signed_at).dumps([data, max_age_seconds]))


def verify(
    secret: str, salt: str, token: object, *, max_age_seconds: float | None = None, now: float | None = None
) -> Any:
    """Return the data of a token that `sign` made with the same secret and salt.

    Args:
        secret: as in `sign`.
        salt: as in `sign`.
        token: the token that the client sent; None if it sent none.
        max_age_seconds: overrides the token's own; `float("inf")` for ever, 0 or less for never.
        now: a Unix time; by default the current time.

    Raises:
        MissingTokenError: if the token is None.
        InvalidTokenError: if it is forged, damaged, for another purpose, or signed over a minute in the
        future.
        ExpiredTokenError: if it has expired.
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
        raise InvalidTokenError("the token was not signed by us, or not for this purpose") from None
    age = serializer.now() - signed.timestamp()
    if age < -CLOCK_SKEW_SECONDS:
        raise InvalidTokenError("the token was signed in the future; compare the machines' clocks")
    if limit <= 0 or age > limit:
        raise ExpiredTokenError(f"the token is {age:.0f} seconds old; it was valid for {limit:g} seconds")
    return data


class _Serializer(URLSafeTimedSerializer):
    """Uses a given time instead of the current one."""

    def __init__(self, secret: str, salt: str, at: float | None) -> None:
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
            f"the secret has {len(secret.encode())} bytes; at least {MIN_SECRET_BYTES} are required:"
            " set MESH_SECURITY__SECRET_KEY, e.g. to the output of `openssl rand -hex 32`"
        )
    return _Serializer(secret, salt, at)
