"""Settings of logging."""

from typing import Annotated, Literal

from msgspec import Meta, field

from mesh.settings.section import Section
from mesh.settings.values import Split, Texts, split
from mesh.telemetry.filters import DEFAULT_FILTER


class LogSettings(Section, frozen=True):
    """Logs, on stderr."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="the least to log")] = (
        "info"
    )
    format: Annotated[
        Literal["console", "json", "logfmt"],
        Meta(description="of a line; json and logfmt make a record of whatever a node prints"),
    ] = "console"
    configure: Annotated[
        bool, Meta(description="false: the application configures logging, and log.level has no effect")
    ] = True
    node: Annotated[str | None, Meta(description="the node's name in each line; its kind if not set")] = (
        None
    )
    similar_lines_per_second: Annotated[
        int, Meta(ge=0, description="of one event, then the rest is left out and counted; 0 for no limit")
    ] = 50
    filter_parameters: Annotated[
        Texts, Meta(description="parameters whose names contain one of these are hidden")
    ] = field(default_factory=lambda: list(DEFAULT_FILTER))
    keep_parameters: Annotated[
        Annotated[list[str], Split(split)] | None,
        Meta(description="if set, all parameters but these are hidden"),
    ] = None
