"""Settings of logging."""

from typing import Annotated, Literal

from msgspec import Meta, field

from mesh.settings.section import Section
from mesh.settings.values import StringList
from mesh.telemetry.filters import DEFAULT_FILTER


class LogSettings(Section, frozen=True):
    """Logs, on stderr."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least severe level that is logged")
    ] = "info"
    format: Annotated[
        Literal["console", "json", "logfmt"],
        Meta(description="format of a log line; json and logfmt apply to everything that a node prints"),
    ] = "console"
    configure: Annotated[
        bool,
        Meta(
            description="whether the node configures logging; if false, the application does, and "
            "log.level has no effect"
        ),
    ] = True
    node: Annotated[str | None, Meta(description="name of the node in each line; its kind if not set")] = (
        None
    )
    similar_lines_per_second: Annotated[
        int,
        Meta(
            ge=0,
            description="most lines of one event per second; further lines are left out and counted. 0 "
            "for no limit",
        ),
    ] = 50
    filter_parameters: Annotated[
        StringList, Meta(description="parameters whose names contain one of these words are hidden in logs")
    ] = field(default_factory=lambda: list(DEFAULT_FILTER))
    keep_parameters: Annotated[
        StringList | None,
        Meta(description="if set, all other parameters are hidden in logs"),
    ] = None
