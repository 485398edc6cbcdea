"""The sections `longpoll` and `zeromq`: the transports besides WebSocket."""

from typing import Annotated

from msgspec import Meta

from mesh.settings.section import Section
from mesh.settings.values import (
    Address,
    HighWaterMark,
    Keepalive,
    Seconds,
)


class LongPollSettings(Section, frozen=True):
    """Clients over long-polling."""

    window_seconds: Annotated[
        Seconds, Meta(description="longest time for which a poll waits for a message")
    ] = 10.0
    relay_timeout_seconds: Annotated[
        Seconds,
        Meta(
            description="time, in addition to the window, within which the gateway that holds a session "
            "must answer another gateway"
        ),
    ] = 2.0
    token_max_age_seconds: Annotated[
        Seconds, Meta(description="time for which the token of a session is valid")
    ] = 1_209_600.0
    max_sessions: Annotated[int, Meta(ge=1, description="most sessions held by one gateway at a time")] = (
        10_000
    )


class ZeroMQSettings(Section, frozen=True):
    """Clients over plain ZeroMQ."""

    bind: Annotated[
        Address | None,
        Meta(
            description="address on which a gateway listens for ZeroMQ clients, tcp:// or ipc://; it "
            "does not listen for them if not set"
        ),
    ] = None
    max_clients: Annotated[
        int, Meta(ge=1, description="most ZeroMQ clients connected to one gateway at a time")
    ] = 50_000
    keepalive_seconds: Annotated[
        Keepalive, Meta(description="TCP sends keep-alive probes to a client that is silent for this long")
    ] = 5
    keepalive_timeout_seconds: Annotated[
        Keepalive,
        Meta(
            description="the connection of a client that does not answer keep-alive probes for this "
            "long is closed"
        ),
    ] = 15
    high_water_mark: Annotated[
        HighWaterMark, Meta(description="most messages that ZeroMQ queues for one client")
    ] = 1_000
