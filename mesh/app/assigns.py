"""Assigns: the values that an application stores in a socket or a channel."""

from collections.abc import Callable, Mapping
from typing import Any

Assigns = dict[str, Any]

Assign = Mapping[str, Any] | Callable[[Assigns], Mapping[str, Any]] | None
"""The argument of `assign`: values, or a function that computes them from the current assigns."""


def assign(assigns: Assigns, values: Assign, more: Assigns) -> Assigns:
    """Merge values into assigns, and return the assigns."""
    assigns.update((values(assigns) if callable(values) else values) or {}, **more)
    return assigns
