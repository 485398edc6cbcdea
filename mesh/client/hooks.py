"""What an application wants to be told of a connection: `Client.on_open`, `on_close`, `on_error`."""

from collections.abc import Callable
from contextvars import Context
from typing import Any, Literal

from mesh.telemetry import get_logger

log = get_logger("mesh.client")

Name = Literal["open", "close", "error"]


class Hooks:
    """Callbacks; an exception in one is logged.

    Attributes:
        context: of the code that opened the client; each call runs in a copy.
    """

    def __init__(self) -> None:
        self.context = Context()
        self._callbacks: dict[Name, list[Callable[..., object]]] = {"open": [], "close": [], "error": []}

    def add(self, name: Name, callback: Callable[..., object]) -> Callable[[], None]:
        """Call back from now on; returns what takes it back."""
        callbacks = self._callbacks[name]
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    def tell(self, name: Name, *arguments: Any) -> None:
        """Call all back."""
        for callback in list(self._callbacks[name]):
            context = self.context.copy()
            try:
                context.run(callback, *arguments)
            except Exception as error:  # whatever it is, the client is not to blame
                context.run(log.error, "a callback raised", callback=f"on_{name}", exc_info=error)
