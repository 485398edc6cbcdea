"""Assigns: what an application keeps with a socket, and with a channel."""

from collections.abc import Callable, Mapping
from typing import Any

Assigns = dict[str, Any]

Assign = Mapping[str, Any] | Callable[[Assigns], Mapping[str, Any]] | None
"""What `assign` takes: values, or a function that makes them of the assigns there are."""


def assign(assigns: Assigns, values: Assign, more: Assigns) -> Assigns:
    """Merge values into assigns; returns these."""
    assigns.update((values(assigns) if callable(values) else values) or {}, **more)
    return assigns
