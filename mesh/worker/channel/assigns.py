"""The initial assigns of a channel: those of its socket, merged with those of its route."""

from collections.abc import Mapping
from typing import Any

from mesh.bus.decoding import decoder
from mesh.link import commands

decode_assigns = decoder(dict[str, Any], "the assigns of a socket")
"""Decodes the assigns that a JOIN carries. Raises WireError for anything that is not a map."""


def joined_assigns(join: commands.Join, route: Mapping[str, Any]) -> dict[str, Any]:
    """Return the socket's assigns merged with a copy of the route's, which win.

    A channel that comes from another worker may have changed its assigns, so these take precedence.

    Raises:
        WireError: if the assigns in the join cannot be decoded.
    """
    assigns = decode_assigns(join.assigns)
    if not route:
        return assigns
    given: dict[str, Any] = _copied(dict(route))
    return given | assigns if join.moved else assigns | given


def _copied(value: Any) -> Any:
    """Return a copy with copies of lists and dicts, which a channel may change; all else is shared."""
    if type(value) is dict:
        return {key: _copied(each) for key, each in value.items()}
    return [_copied(each) for each in value] if type(value) is list else value
