"""Parameters as they may stand in a log. Source: Phoenix.Logger's filter_parameters."""

from collections.abc import Sequence
from typing import Any

DEFAULT_FILTER = ("password", "token")
HIDDEN = "[FILTERED]"


class ParameterFilter:
    """Hides values by the names of their keys, at any depth.

    Args:
        hide: keys that contain one of these, and texts that contain one followed by `=`.
        keep: if given, every key but these, instead.
    """

    def __init__(self, hide: Sequence[str] = DEFAULT_FILTER, keep: Sequence[str] | None = None) -> None:
        self._hide = tuple(hide)
        self._keep = None if keep is None else frozenset(keep)

    def __call__(self, value: Any) -> Any:
        """A copy with what is secret hidden; bytes become their length."""
        if isinstance(value, dict):
            return {key: self(inner) if self._shows(key) else HIDDEN for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self(inner) for inner in value]
        if isinstance(value, bytes):
            return f"{len(value)} bytes"
        if (
            self._keep is None
            and isinstance(value, str)
            and any(f"{term}=" in value for term in self._hide)
        ):
            return HIDDEN
        return value

    def _shows(self, key: Any) -> bool:
        if self._keep is not None:
            return key in self._keep
        return not any(term in str(key) for term in self._hide)
