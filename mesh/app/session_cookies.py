"""Reads the session cookies of common Python web frameworks, for `SessionCookie(load=…)`."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

Load = Callable[[str], Mapping[str, Any] | None]

TWO_WEEKS = 14 * 86_400
MONTH = 31 * 86_400


def starlette(secret: str, max_age_seconds: int = TWO_WEEKS) -> Load:
    """Return a reader of the cookie of Starlette's (and FastAPI's) SessionMiddleware with this key."""
    signer = TimestampSigner(secret)

    def load(cookie: str) -> Mapping[str, Any] | None:
        try:
            return _mapping(json.loads(b64decode(signer.unsign(cookie, max_age=max_age_seconds))))
        except (BadData, ValueError):
            return None

    return load


def flask(secret: str, max_age_seconds: int = MONTH) -> Load:
    """Return a reader of the cookie of a Flask application with this SECRET_KEY."""
    serializer = URLSafeTimedSerializer(
        secret,
        salt="cookie-session",
        signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha1},
    )

    def load(cookie: str) -> Mapping[str, Any] | None:
        try:
            return _mapping(serializer.loads(cookie, max_age=max_age_seconds))
        except (BadData, ValueError):
            return None

    return load


def _mapping(session: Any) -> Mapping[str, Any] | None:
    return session if isinstance(session, dict) else None
