"""An application's callbacks for a connection: `Client.on_open`, `on_close`, `on_error`."""

from collections.abc import Callable
from contextvars import Context
from typing import Any, Literal

from mesh.telemetry import get_logger

log = get_logger(__name__)

Name = Literal["open", "close", "error"]


class Hooks:
    """The callbacks of one client; their exceptions are logged.

    Attributes:
        context: the context of the code that opened the client; each call runs in a copy.
    """

    def __init__(self) -> None:
        self.context = Context()
        self._callbacks: dict[Name, list[Callable[..., object]]] = {"open": [], "close": [], "error": []}

    def add(self, name: Name, callback: Callable[..., object]) -> Callable[[], None]:
        """Add a callback; return a function that removes it."""
        callbacks = self._callbacks[name]
        callbacks.append(callback)
        return lambda: callbacks.remove(callback) if callback in callbacks else None

    def call(self, name: Name, *arguments: Any) -> None:
        """Call all callbacks of this name."""
        for callback in list(self._callbacks[name]):
            context = self.context.copy()
            try:
                context.run(callback, *arguments)
            except Exception as error:  # of any kind; the client continues
                context.run(log.error, "a callback raised", callback=f"on_{name}", exc_info=error)
