"""The values that an assertion compares a payload with: a value, ANY, or Contains."""

from collections.abc import Callable
from typing import Any, TypeVar
from unittest.mock import ANY

__all__ = ["ANY", "Contains", "take"]

Item = TypeVar("Item")


class Contains:
    """Equals every object with at least these fields: `Contains(body="hi")`, `Contains({"a b": ANY})`.

    A value may itself be ANY or Contains.
    """

    def __init__(self, fields: dict[str, Any] | None = None, /, **more: Any) -> None:
        self.fields = {**(fields or {}), **more}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and all(
            name in other and value == other[name] for name, value in self.fields.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Contains({self.fields!r})"


def take(items: list[Item], wanted: Callable[[Item], bool], keep: bool = False) -> Item | None:
    """Return the first matching item, and remove it unless `keep` is set; None if there is none."""
    for index, item in enumerate(items):
        if wanted(item):
            return item if keep else items.pop(index)
    return None
