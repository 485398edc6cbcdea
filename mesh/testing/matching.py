"""What an assertion compares a payload with: a value, ANY, or Contains."""

from typing import Any
from unittest.mock import ANY

__all__ = ["ANY", "Contains"]


class Contains:
    """Equals every object that has at least these fields: `Contains(body="hi")`, `Contains({"a b": ANY})`.

    A value may itself be ANY or Contains.
    """

    def __init__(self, fields: dict[str, Any] | None = None, **more: Any) -> None:
        self.fields = {**(fields or {}), **more}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and all(
            name in other and value == other[name] for name, value in self.fields.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Contains({self.fields!r})"
