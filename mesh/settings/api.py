"""Settings of the HTTP API: publishing, and histories."""

import re
from typing import Annotated

from msgspec import Meta, field

from mesh.settings.secret import Secret
from mesh.settings.section import Section
from mesh.settings.values import Check, Seconds, Split, split

MIN_KEY_CHARACTERS = 16
_API_KEY = re.compile(rf"[!-+\--~]{{{MIN_KEY_CHARACTERS},256}}\Z")
_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+\Z")


def _check_keys(keys: list[Secret]) -> list[Secret]:
    for number, key in enumerate(keys, 1):
        if not _API_KEY.match(key.get_secret_value()):
            raise ValueError(
                f"key {number} is invalid; want {MIN_KEY_CHARACTERS} to 256 printable ASCII"
                " characters without spaces and commas, e.g. the output of `openssl rand -hex 32`"
            )
    return keys


def _check_path(path: str) -> str:
    if not _PATH.match(path):
        raise ValueError("not a path; want for example '/api'")
    return path


class ApiSettings(Section, frozen=True):
    """Publishing over HTTP."""

    keys: Annotated[
        Annotated[list[Secret], Split(split), Check(_check_keys)],
        Meta(
            description="keys of which a program must present one to publish or to read histories; if none "
            "is set, the API is disabled"
        ),
    ] = field(default_factory=list)
    path: Annotated[
        str,
        Check(_check_path),
        Meta(description="path prefix of /broadcast, /broadcast_batch, /disconnect and /history"),
    ] = "/api"
    timeout_seconds: Annotated[
        Seconds,
        Meta(description="longest time to wait until the bus confirms a message; then the answer is 503"),
    ] = 5.0
    max_body_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=64_000_000,
            description="largest body of one request; a larger one is answered with 413",
        ),
    ] = 2_000_000
    max_batch_messages: Annotated[int, Meta(ge=1, description="most messages in one broadcast_batch")] = (
        1_000
    )
    idempotency_seconds: Annotated[
        Seconds, Meta(description="time for which an Idempotency-Key is remembered")
    ] = 600.0
    max_idempotency_keys: Annotated[
        int, Meta(ge=1, description="most Idempotency-Keys remembered; beyond this the oldest is forgotten")
    ] = 100_000
