"""The methods of a Channel class that handle the events of its clients: marked with `@on`. Pure."""

from collections.abc import Callable
from typing import Any, TypeVar

from mesh.errors import ChannelError

Handler = TypeVar("Handler", bound=Callable[..., Any])


def on(*events: str) -> Callable[[Handler], Handler]:
    """Mark a method as the handler of these events: `@on("new_msg")` above `def new_msg(self, payload)`."""

    def mark(handler: Handler) -> Handler:
        handler.__mesh_events__ = events  # type: ignore[attr-defined]
        return handler

    return mark


def collect_handlers(cls: type) -> dict[str, str]:
    """Return the name of the method for each event. Raises ChannelError for an invalid or ambiguous one."""
    handlers: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        own: dict[str, str] = {}
        for name, member in vars(base).items():
            for event in getattr(member, "__mesh_events__", ()):
                if not isinstance(event, str):
                    raise ChannelError(f"{base.__name__}.{name}: @on({event!r}): the event is not a string")
                if event in own:
                    raise ChannelError(f"{base.__name__}: {own[event]} and {name} both handle {event!r}")
                own[event] = name
        handlers.update(own)
    return handlers
