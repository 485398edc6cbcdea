"""The sections `bus` and `link`: the connections between nodes."""

from typing import Annotated

from msgspec import Meta, field

from mesh.settings.section import Section
from mesh.settings.values import (
    Address,
    Check,
    Heartbeat,
    HighWaterMark,
    MessageBytes,
    Seconds,
    StringList,
    address,
)

MAX_PROXIES = 16


def _check_proxies(proxies: list[str]) -> list[str]:
    if not 1 <= len(set(proxies)) == len(proxies) <= MAX_PROXIES:
        raise ValueError(f"want 1 to {MAX_PROXIES} proxies, each once")
    for proxy in proxies:
        address(proxy)
        if proxy.endswith(":*") or proxy == "ipc://*":
            raise ValueError("want a fixed port or path: every node connects to the address of a proxy")
    return proxies


class BusSettings(Section, frozen=True):
    """The broadcast plane."""

    proxies: Annotated[
        StringList,
        Check(_check_proxies),
        Meta(
            description="addresses of all proxies, as publishers connect to them; subscribers use the "
            "next TCP port, or the IPC path with .sub appended"
        ),
    ] = field(default_factory=lambda: ["tcp://127.0.0.1:5550"])
    resolve_seconds: Annotated[
        Seconds,
        Meta(description="interval of DNS look-ups of the proxies' names while every proxy is connected"),
    ] = 5.0
    announce_seconds: Annotated[
        Seconds, Meta(description="interval at which a node announces itself to the others")
    ] = 1.0
    node_down_seconds: Annotated[
        Seconds,
        Meta(
            description="a node that announces nothing for this long is considered down; a link to it "
            "that is silent as well is ended"
        ),
    ] = 5.0
    probe_timeout_seconds: Annotated[
        Seconds, Meta(description="a warning is logged when the bus has not answered a probe for this long")
    ] = 2.0
    proxy_timeout_seconds: Annotated[
        Seconds,
        Meta(
            description="a proxy that has not answered for this long is no longer used if another one "
            "is available"
        ),
    ] = 2.0
    listeners_seconds: Annotated[
        Seconds,
        Meta(
            description="if no proxy is connected to every node, broadcasts go through one that has "
            "been connected to this node for this long"
        ),
    ] = 2.0
    max_message_bytes: Annotated[
        MessageBytes, Meta(ge=1_000, description="largest frame accepted on the bus")
    ] = 16_000_000
    high_water_mark: Annotated[
        HighWaterMark,
        Meta(description="most messages that ZeroMQ queues in each bus socket (ZMQ_SNDHWM and ZMQ_RCVHWM)"),
    ] = 10_000
    backlog_messages: Annotated[
        int,
        Meta(
            ge=0,
            description="most messages kept while no proxy is available or its queue is full; further "
            "messages are dropped and counted",
        ),
    ] = 10_000
    heartbeat_seconds: Annotated[
        Heartbeat,
        Meta(description="interval of ZeroMQ heartbeats on connections to proxies (ZMQ_HEARTBEAT_IVL)"),
    ] = 1.0
    heartbeat_timeout_seconds: Annotated[
        Heartbeat,
        Meta(
            description="a connection to a proxy is closed when no heartbeat is answered for this long "
            "(ZMQ_HEARTBEAT_TIMEOUT)"
        ),
    ] = 5.0


class LinkSettings(Section, frozen=True):
    """The links between gateways and workers."""

    bind: Annotated[
        Address | None,
        Meta(
            description="address on which a worker listens for gateways; tcp://HOST:* lets the kernel "
            "choose the port. If not set: a socket in a private directory, which only "
            "gateways of the same user on the same machine can reach"
        ),
    ] = None
    advertise_host: Annotated[
        str | None,
        Meta(
            description="host name or address that gateways connect to; needed if `bind` listens on all "
            "addresses"
        ),
    ] = None
    heartbeat_seconds: Annotated[
        Heartbeat, Meta(description="interval of ZeroMQ heartbeats on links (ZMQ_HEARTBEAT_IVL)")
    ] = 1.0
    heartbeat_timeout_seconds: Annotated[
        Heartbeat,
        Meta(
            description="a link is ended when no heartbeat is answered, or the peer accepts nothing, "
            "for this long"
        ),
    ] = 3.0
    hello_timeout_seconds: Annotated[
        Seconds, Meta(description="a link is ended if the worker does not answer Hello within this time")
    ] = 5.0
    hold_seconds: Annotated[
        Seconds,
        Meta(
            description="longest time for which a gateway holds a worker's command until the broadcast "
            "made before it has arrived"
        ),
    ] = 0.25
    max_message_bytes: Annotated[
        MessageBytes, Meta(ge=2_000_000, description="largest batch of commands accepted on a link")
    ] = 64_000_000
    high_water_mark: Annotated[
        HighWaterMark, Meta(description="most batches queued for one peer; beyond this the link is ended")
    ] = 1_000
    pause_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="bytes queued for one peer above which no further pushes are taken for it; they "
            "resume at half of it",
        ),
    ] = 8_000_000
    max_queued_bytes: Annotated[
        int, Meta(ge=1_000_000, description="bytes queued for one peer above which the link is ended")
    ] = 64_000_000
