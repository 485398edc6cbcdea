"""The functions that gateways and workers pass to their links: one object for each end.

No handler may wait. An exception in `on_command` ends the channel that the command names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mesh.link import commands
from mesh.link.backoff import End
from mesh.link.malformed import Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class DealerHandlers:
    """The handlers of a gateway; one object for all of its links.

    Attributes:
        on_up: called with the worker whose Welcome was received.
        on_command: called with (worker, command).
        on_malformed: called with (worker, command) if a command cannot be decoded, but names its channel or
            topic.
        on_down: called with (worker, end, reason), once, when the link has ended by itself.
        on_incompatible: called with the worker if no version is in common; the link is closed.
        on_behind: called with (worker, whether too much waits for it) when that changes.
    """

    on_up: Callable[[str], None]
    on_command: Callable[[str, commands.ToGateway], None]
    on_malformed: Callable[[str, Malformed], None]
    on_down: Callable[[str, End, str], None]
    on_incompatible: Callable[[str], None]
    on_behind: Callable[[str, bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterHandlers:
    """The handlers of a worker. A link is identified by its routing id.

    Attributes:
        on_up: called with (link, gateway id) when Hello was received.
        on_command: called with (link, command).
        on_malformed: called with (link, channel) if a command names a channel, but cannot be decoded.
        on_down: called with the link when its gateway is gone.
        on_gone: called with the id of that gateway.
        on_behind: called with (link, whether too much waits for its gateway) when that changes.
    """

    on_up: Callable[[bytes, str], None]
    on_command: Callable[[bytes, commands.ToWorker], None]
    on_malformed: Callable[[bytes, int], None]
    on_down: Callable[[bytes], None]
    on_gone: Callable[[str], None]
    on_behind: Callable[[bytes, bool], None]
