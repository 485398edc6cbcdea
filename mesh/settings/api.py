"""Settings of publishing over HTTP."""

import re
from typing import Annotated

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from mesh.settings.room import Room
from mesh.settings.values import Seconds, split

MIN_KEY_CHARACTERS = 16
_API_KEY = re.compile(rf"[!-+\--~]{{{MIN_KEY_CHARACTERS},256}}\Z")
_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+\Z")


class ApiSettings(Room):
    """Publishing over HTTP."""

    keys: Annotated[list[SecretStr], NoDecode, BeforeValidator(split)] = Field(
        [], description="any of which lets a program publish; without one the API is off"
    )
    path: str = Field("/api", description="before /broadcast, /broadcast_batch and /disconnect")
    timeout_seconds: Seconds = Field(5.0, description="for the bus to confirm, then 503")
    max_body_bytes: int = Field(2_000_000, ge=1, le=64_000_000, description="of one request")
    max_batch_messages: int = Field(1_000, ge=1, description="in one broadcast_batch")
    idempotency_seconds: Seconds = Field(600.0, description="an Idempotency-Key is remembered")
    max_idempotency_keys: int = Field(100_000, ge=1, description="remembered, then the oldest goes")

    @field_validator("keys")
    @classmethod
    def _check_keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
        for number, key in enumerate(keys, 1):
            if not _API_KEY.match(key.get_secret_value()):
                raise ValueError(
                    f"key {number} is not usable; want {MIN_KEY_CHARACTERS} to 256 printable ASCII"
                    " characters without blanks and commas, e.g. of `openssl rand -hex 32`"
                )
        return keys

    @field_validator("path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not _PATH.match(path):
            raise ValueError("not a path; want for example '/api'")
        return path
