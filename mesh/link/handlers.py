"""What gateways and workers do with what happens on their links: one object for each end.

Every handler returns at once. An exception in `on_command` costs the channel that the command names.
"""

from collections.abc import Callable
from dataclasses import dataclass

from mesh.link import commands
from mesh.link.backoff import End
from mesh.link.malformed import Malformed


@dataclass(frozen=True, slots=True, kw_only=True)
class DealerHandlers:
    """What a gateway does with what happens on its links; one object for all of them.

    Attributes:
        on_up: called with the worker that has welcomed us.
        on_command: called with (worker, command).
        on_malformed: called with (worker, command) for what names whom it concerns, but cannot be read.
        on_down: called with (worker, how, why), once, when the link has ended by itself.
        on_incompatible: called with the worker when it speaks other versions; the link is closed.
        on_behind: called with (worker, whether much waits for it) when that changes.
    """

    on_up: Callable[[str], None]
    on_command: Callable[[str, commands.ToGateway], None]
    on_malformed: Callable[[str, Malformed], None]
    on_down: Callable[[str, End, str], None]
    on_incompatible: Callable[[str], None]
    on_behind: Callable[[str, bool], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterHandlers:
    """What a worker does with what happens on its links. A link is named by its routing id.

    Attributes:
        on_up: called with (link, gateway id) when a gateway says hello.
        on_command: called with (link, command).
        on_malformed: called with (link, channel) for a command that names one, but cannot be read.
        on_down: called with the link when a gateway is gone.
        on_gone: called with that gateway's id.
        on_behind: called with (link, whether much waits for its gateway) when that changes.
    """

    on_up: Callable[[bytes, str], None]
    on_command: Callable[[bytes, commands.ToWorker], None]
    on_malformed: Callable[[bytes, int], None]
    on_down: Callable[[bytes], None]
    on_gone: Callable[[str], None]
    on_behind: Callable[[bytes, bool], None]
