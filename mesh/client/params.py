"""The parameters of a connection: what the application gives, and what the protocol adds."""

import inspect
from typing import Any

from mesh.client.texts import texts
from mesh.client.wire import Format
from mesh.errors import SettingsError

VSN = "2.0.0"


async def connect_params(given: Any, format: Format) -> dict[str, Any]:
    """For the next connection; `given` is a dict, None, or a function that returns one of them.

    Raises:
        SettingsError: if it is anything else, or holds what cannot be sent as text.
    """
    params = await value_of(given)
    if params is None:
        params = {}
    if not isinstance(params, dict):
        raise SettingsError(f"params are {params!r}; want a dict, or a function that returns one")
    extra = {"vsn": VSN} if format == "json" else {"vsn": VSN, "format": format}
    return {**texts(params), **extra}


async def value_of(given: Any) -> Any:
    """A value, or what a function or a coroutine function returns."""
    value = given() if callable(given) else given
    return await value if inspect.isawaitable(value) else value
