"""The parameters of a connection: the application's, and those that the protocol adds."""

import inspect
from typing import Any

from mesh.client.query_strings import to_strings
from mesh.client.wire import Format
from mesh.errors import SettingsError

VSN = "2.0.0"


async def connect_params(given: Any, format: Format) -> dict[str, Any]:
    """Return the parameters of the next connection; `given` is a dict, None, or a function returning one.

    Raises:
        SettingsError: if it is anything else, or contains what cannot be sent as text.
    """
    params = await value_of(given)
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise SettingsError(f"params are {params!r}; want a dict, or a function that returns one")
    extra = {"vsn": VSN} if format == "json" else {"vsn": VSN, "format": format}
    return {**to_strings(params), **extra}


async def value_of(given: Any) -> Any:
    """Return a value, or the result of a function or coroutine function."""
    value = given() if callable(given) else given
    return await value if inspect.isawaitable(value) else value
