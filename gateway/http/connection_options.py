"""The options of the Connection header. Source: RFC 9110 §7.6.1, RFC 9112 §9.3 and §9.6."""

from typing import Protocol


class Headers(Protocol):
    """A request's headers, Tornado's or our own."""

    def get_list(self, name: str) -> list[str]:
        """Return all values of a header."""


def asks_to_close(headers: Headers) -> bool:
    """Return whether the client wants the connection closed after the response: `Connection: TE, close`."""
    return any(
        option.strip(" \t").lower() == "close"
        for value in headers.get_list("connection")
        for option in value.split(",")
    )
