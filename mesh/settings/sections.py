"""The sections of settings: one model for each, with units in the names."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from mesh.settings.hosts import Hosts, Networks
from mesh.settings.secret import Secret
from mesh.settings.section import Section
from mesh.settings.values import (
    MAX_SECONDS,
    Address,
    Check,
    Heartbeat,
    HighWaterMark,
    Keepalive,
    MessageBytes,
    Port,
    Rate,
    Seconds,
    Texts,
    address,
)

MAX_PROXIES = 16
MAX_SNAPSHOT_BYTES = 8_000_000
"""The same limit as for a payload, well below what a link carries by default."""


def _check_proxies(proxies: list[str]) -> list[str]:
    if not 1 <= len(set(proxies)) == len(proxies) <= MAX_PROXIES:
        raise ValueError(f"want 1 to {MAX_PROXIES} proxies, each once")
    for proxy in proxies:
        address(proxy)
        if proxy.endswith(":*") or proxy == "ipc://*":
            raise ValueError("a proxy needs a fixed address, because every node connects to it")
    return proxies


def _check_secret(secret: Secret) -> Secret:
    if len(secret.get_secret_value().encode()) < 20:
        raise ValueError("want at least 20 bytes, e.g. what `openssl rand -hex 32` prints")
    return secret


class BusSettings(Section, frozen=True):
    """The broadcast plane."""

    proxies: Annotated[
        Texts,
        Check(_check_proxies),
        Meta(
            description="all proxies' addresses; a subscribers' side is the next port, or the path + .sub"
        ),
    ] = field(default_factory=lambda: ["tcp://127.0.0.1:5550"])
    resolve_seconds: Annotated[
        Seconds, Meta(description="between two look-ups of the proxies' names while every proxy is heard")
    ] = 5.0
    announce_seconds: Annotated[Seconds, Meta(description="between two announcements of a node")] = 1.0
    node_down_seconds: Annotated[
        Seconds,
        Meta(description="of silence, then a node counts as gone, and a link that is silent too ends"),
    ] = 5.0
    probe_timeout_seconds: Annotated[
        Seconds, Meta(description="without an answer of the bus, then a warning is logged")
    ] = 2.0
    proxy_timeout_seconds: Annotated[
        Seconds, Meta(description="a proxy may be silent while there are others, then those are used")
    ] = 2.0
    listeners_seconds: Annotated[
        Seconds,
        Meta(
            description="after the only proxy is back, then broadcasts go on even if a node does"
            " not hear it"
        ),
    ] = 2.0
    max_message_bytes: Annotated[MessageBytes, Meta(ge=1_000, description="of one frame on the bus")] = (
        16_000_000
    )
    high_water_mark: Annotated[HighWaterMark, Meta(description="messages queued in each ZeroMQ socket")] = (
        10_000
    )
    backlog_messages: Annotated[
        int, Meta(ge=0, description="messages kept while the proxy is away or its queue is full")
    ] = 10_000
    heartbeat_seconds: Annotated[Heartbeat, Meta(description="between ZeroMQ heartbeats")] = 1.0
    heartbeat_timeout_seconds: Annotated[Heartbeat, Meta(description="without a sign of the proxy")] = 5.0


class LinkSettings(Section, frozen=True):
    """The links between gateways and workers."""

    bind: Annotated[
        Address | None,
        Meta(
            description="where a worker listens for gateways; a socket in a private directory if not set,"
            " for gateways of the same user on the same machine; tcp://HOST:* lets the kernel"
            " choose the port"
        ),
    ] = None
    advertise_host: Annotated[
        str | None,
        Meta(description="the host that gateways connect to, where `bind` listens on all addresses"),
    ] = None
    heartbeat_seconds: Annotated[Heartbeat, Meta(description="between ZeroMQ heartbeats")] = 1.0
    heartbeat_timeout_seconds: Annotated[
        Heartbeat, Meta(description="without a sign of the peer, then it counts as dead")
    ] = 3.0
    hello_timeout_seconds: Annotated[Seconds, Meta(description="a worker has to welcome a gateway")] = 5.0
    hold_seconds: Annotated[
        Seconds, Meta(description="a reply waits at most for the broadcast made before it")
    ] = 0.25
    max_message_bytes: Annotated[MessageBytes, Meta(ge=2_000_000, description="of one batch")] = 64_000_000
    high_water_mark: Annotated[HighWaterMark, Meta(description="batches queued in each direction")] = 1_000
    pause_bytes: Annotated[
        int, Meta(ge=1, description="queued for a peer, then nobody is read from for whom more would be")
    ] = 8_000_000
    max_queued_bytes: Annotated[
        int, Meta(ge=1_000_000, description="queued for a peer, then the link is given up")
    ] = 64_000_000


class GatewaySettings(Section, frozen=True):
    """Clients and their connections."""

    host: Annotated[
        Hosts, Meta(description="addresses to listen on; :: for all, 0.0.0.0 for all of IPv4")
    ] = field(default_factory=lambda: ["127.0.0.1"])
    port: Annotated[Port, Meta(description="to listen on; 0 lets the kernel choose")] = 4000
    reuse_port: Annotated[bool, Meta(description="share the port with other gateways (SO_REUSEPORT)")] = (
        False
    )
    own_port: Annotated[
        Port | None,
        Meta(description="a second port, of this gateway alone; 0 lets the kernel choose"),
    ] = None
    tls_certificate: Annotated[
        Path | None, Meta(description="PEM file of the chain: then clients connect by https and wss only")
    ] = None
    tls_key: Annotated[
        Path | None, Meta(description="PEM file of its key; in that of the chain if not set")
    ] = None
    url_host: Annotated[
        str, Meta(min_length=1, description="the host of the pages that may connect (Origin check)")
    ] = "localhost"
    trusted_proxies: Annotated[
        Networks,
        Meta(description="networks whose Forwarded and X-Forwarded-* headers say who the client is"),
    ] = field(default_factory=list)
    proxy_protocol: Annotated[
        Literal["off", "required"],
        Meta(description="whether connections to `port` begin with a PROXY header, version 1 or 2"),
    ] = "off"
    idle_timeout_seconds: Annotated[Seconds, Meta(description="without a byte from a client")] = 60.0
    handshake_timeout_seconds: Annotated[
        Seconds, Meta(description="for a request's headers, and again for its body, then 408")
    ] = 10.0
    keepalive_seconds: Annotated[
        Seconds, Meta(description="between two HTTP requests of one connection")
    ] = 75.0
    max_head_bytes: Annotated[
        int, Meta(ge=1_000, description="of a request's line and headers, then 414 or 431")
    ] = 65_536
    max_body_bytes: Annotated[int, Meta(ge=1_000, description="of one HTTP request, then 413")] = 8_000_000
    max_bodies_bytes: Annotated[
        int, Meta(ge=1_000, description="of all HTTP requests being read or answered, then 503")
    ] = 64_000_000
    max_frame_bytes: Annotated[int, Meta(ge=1, description="of a client's message")] = 1_000_000
    max_fragments: Annotated[
        int, Meta(ge=1, description="frames of one message, then its connection is closed with 1008")
    ] = 65_536
    max_channels_per_socket: Annotated[int, Meta(ge=1, description="channels joined on one connection")] = (
        100
    )
    max_unsent_bytes: Annotated[
        int, Meta(ge=1, description="a client may be behind, then it is closed as too slow")
    ] = 4_000_000
    max_pending_bytes: Annotated[
        int, Meta(ge=1, description="of messages that wait for pending joins, then reading pauses")
    ] = 1_000_000
    pause_publisher_bytes: Annotated[
        int, Meta(ge=1, description="a client may be behind, then `pause_publisher` topics wait for it")
    ] = 1_000_000
    pause_publisher_seconds: Annotated[
        Seconds, Meta(description="they wait for one client, then it is closed as too slow")
    ] = 10.0
    worker_wait_seconds: Annotated[
        float, Meta(ge=0, le=MAX_SECONDS, description="a join waits for a worker to appear")
    ] = 5.0
    bus_wait_seconds: Annotated[
        Seconds, Meta(description="a join waits for the bus to take its topic, then it is refused")
    ] = 5.0
    max_joins_waiting: Annotated[
        int, Meta(ge=0, description="joins that wait for a worker, and as many for the bus")
    ] = 100_000
    max_topic_rest_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=MAX_SECONDS,
            description="for which a topic whose joins end workers is refused, at most",
        ),
    ] = 300.0


class LimitSettings(Section, frozen=True):
    """Rate limits of one socket; `Channel.rate_limit` sets those of a channel class."""

    pushes_per_second: Annotated[Rate | None, Meta(description="of one socket; unlimited if not set")] = (
        None
    )
    push_burst: Annotated[float, Meta(ge=1, description="pushes at once")] = 50.0
    joins_per_second: Annotated[Rate | None, Meta(description="of one socket; unlimited if not set")] = None
    join_burst: Annotated[float, Meta(ge=1, description="joins at once")] = 50.0
    bytes_per_second: Annotated[Rate | None, Meta(description="of one socket; unlimited if not set")] = None
    byte_burst: Annotated[float, Meta(ge=1, description="bytes at once")] = 1_000_000.0


class WorkerSettings(Section, frozen=True):
    """Channels in a worker."""

    max_mailbox_messages: Annotated[
        int, Meta(ge=1, description="that wait for one channel, then it crashes")
    ] = 10_000
    max_mailbox_bytes: Annotated[
        int, Meta(ge=1, description="of pushes and broadcasts that wait for one channel, then it crashes")
    ] = 64_000_000
    pause_mailbox_messages: Annotated[
        int, Meta(ge=1, description="that wait for one channel, then its client is not read from")
    ] = 1_000
    pause_mailbox_bytes: Annotated[
        int, Meta(ge=1, description="that wait for one channel, then its client is not read from")
    ] = 2_000_000
    kill_seconds: Annotated[
        Seconds, Meta(description="a callback may run on when its channel is replaced or stopped")
    ] = 5.0
    join_timeout_seconds: Annotated[
        Seconds | None, Meta(description="a join may take, then it is refused; unbounded if not set")
    ] = None
    max_snapshot_bytes: Annotated[
        int, Meta(ge=1, le=MAX_SNAPSHOT_BYTES, description="of one channel that moves to another worker")
    ] = 1_000_000


class LongPollSettings(Section, frozen=True):
    """Clients over long-polling."""

    window_seconds: Annotated[Seconds, Meta(description="a poll waits at most for a message")] = 10.0
    relay_timeout_seconds: Annotated[
        Seconds, Meta(description="the gateway that holds a session has to answer, beyond the window")
    ] = 2.0
    token_max_age_seconds: Annotated[Seconds, Meta(description="a session's token is valid")] = 1_209_600.0
    max_sessions: Annotated[int, Meta(ge=1, description="held by one gateway at a time")] = 10_000


class ZeroMQSettings(Section, frozen=True):
    """Clients over plain ZeroMQ."""

    bind: Annotated[
        Address | None,
        Meta(
            description="where a gateway listens for ZeroMQ clients, tcp:// or ipc://; not at all"
            " if not set"
        ),
    ] = None
    max_clients: Annotated[int, Meta(ge=1, description="connected to one gateway at a time")] = 50_000
    keepalive_seconds: Annotated[
        Keepalive, Meta(description="of silence, then TCP asks whether a client is there")
    ] = 5
    keepalive_timeout_seconds: Annotated[
        Keepalive, Meta(description="without an answer to TCP, then a client is gone")
    ] = 15
    high_water_mark: Annotated[
        HighWaterMark, Meta(description="messages queued for one client by ZeroMQ")
    ] = 1_000


class DrainSettings(Section, frozen=True):
    """How a stopping gateway closes its clients' connections."""

    batch_size: Annotated[int, Meta(ge=1, description="connections closed at a time")] = 10_000
    interval_seconds: Annotated[float, Meta(ge=0, le=MAX_SECONDS, description="between two batches")] = 2.0
    shutdown_seconds: Annotated[
        Seconds, Meta(description="for all of them, then the rest is closed at once")
    ] = 30.0


class SecuritySettings(Section, frozen=True):
    """Secrets and keys."""

    secret_key: Annotated[
        Annotated[Secret, Check(_check_secret)] | None,
        Meta(description="signs tokens; equal on all nodes, at least 20 bytes; random if not set"),
    ] = None
    node_key: Annotated[
        Path | None,
        Meta(description="this process's own CURVE pair, a file of `mesh keys`; no CURVE if not set"),
    ] = None
    keys: Annotated[Path, Meta(description="directory of the CURVE keys that are accepted")] = Path("keys")


class AdminSettings(Section, frozen=True):
    """A node's own HTTP port for operators: /metrics, /healthz, /readyz."""

    host: Annotated[Hosts, Meta(description="addresses to listen on")] = field(
        default_factory=lambda: ["127.0.0.1"]
    )
    port: Annotated[Port | None, Meta(description="to listen on; none if not set")] = None
    ready_seconds: Annotated[
        Seconds, Meta(description="since the last round trip through the bus, then a node is not ready")
    ] = 3.0
    stall_warning_seconds: Annotated[
        Seconds, Meta(description="that callbacks may hold up the event loop, then a warning is logged")
    ] = 0.25


class GarbageSettings(Section, frozen=True):
    """Python's garbage collection in a node's process."""

    full_seconds: Annotated[
        Seconds | None,
        Meta(description="between two full collections, which stop the node; not set: as Python does it"),
    ] = 600.0
