"""What can be set: one model per room, units in the names."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from mesh.settings.hosts import Hosts, Networks
from mesh.settings.room import Room
from mesh.settings.values import (
    MAX_SECONDS,
    Address,
    Heartbeat,
    HighWaterMark,
    Keepalive,
    MessageBytes,
    Rate,
    Seconds,
    Texts,
    address,
    split,
)
from mesh.telemetry.filters import DEFAULT_FILTER

MAX_PROXIES = 16
MAX_SNAPSHOT_BYTES = 8_000_000
"""As a payload: well below what links carry."""


class BusSettings(Room):
    """The broadcast plane."""

    proxies: Texts = Field(
        ["tcp://127.0.0.1:5550"],
        description="all proxies' addresses; a subscribers' side is the next port, or the path + .sub",
    )
    resolve_seconds: Seconds = Field(
        5.0, description="between two look-ups of the proxies' names while every proxy is heard"
    )
    announce_seconds: Seconds = Field(1.0, description="between two announcements of a node")
    node_down_seconds: Seconds = Field(
        5.0, description="of silence, then a node counts as gone, and a link that is silent too ends"
    )
    probe_timeout_seconds: Seconds = Field(
        2.0, description="without an answer of the bus, then a warning is logged"
    )
    proxy_timeout_seconds: Seconds = Field(
        2.0, description="a proxy may be silent while there are others, then those are used"
    )
    listeners_seconds: Seconds = Field(
        2.0,
        description="after the only proxy is back, then broadcasts go on even if a node does not hear it",
    )
    max_message_bytes: MessageBytes = Field(16_000_000, ge=1_000, description="of one frame on the bus")
    high_water_mark: HighWaterMark = Field(10_000, description="messages queued in each ZeroMQ socket")
    backlog_messages: int = Field(
        10_000, ge=0, description="messages kept while the proxy is away or its queue is full"
    )
    heartbeat_seconds: Heartbeat = Field(1.0, description="between ZeroMQ heartbeats")
    heartbeat_timeout_seconds: Heartbeat = Field(5.0, description="without a sign of the proxy")

    @field_validator("proxies")
    @classmethod
    def _check_proxies(cls, proxies: list[str]) -> list[str]:
        if not 1 <= len(set(proxies)) == len(proxies) <= MAX_PROXIES:
            raise ValueError(f"want 1 to {MAX_PROXIES} proxies, each once")
        for proxy in proxies:
            address(proxy)
            if proxy.endswith(":*") or proxy == "ipc://*":
                raise ValueError("a proxy needs a fixed address, because every node connects to it")
        return proxies


class LinkSettings(Room):
    """Between gateways and workers."""

    bind: Address | None = Field(
        None,
        description="where a worker listens for gateways; a socket in a private directory if not set,"
        " for gateways of the same user on the same machine; tcp://HOST:* lets the kernel choose the port",
    )
    advertise_host: str | None = Field(
        None, description="the host that gateways connect to, where `bind` listens on all addresses"
    )
    heartbeat_seconds: Heartbeat = Field(1.0, description="between ZeroMQ heartbeats")
    heartbeat_timeout_seconds: Heartbeat = Field(
        3.0, description="without a sign of the peer, then it counts as dead"
    )
    hello_timeout_seconds: Seconds = Field(5.0, description="a worker has to welcome a gateway")
    hold_seconds: Seconds = Field(
        0.25, description="a reply waits at most for the broadcast made before it"
    )
    max_message_bytes: MessageBytes = Field(64_000_000, ge=2_000_000, description="of one batch")
    high_water_mark: HighWaterMark = Field(1_000, description="batches queued in each direction")
    pause_bytes: int = Field(
        8_000_000, ge=1, description="queued for a peer, then nobody is read from for whom more would be"
    )
    max_queued_bytes: int = Field(
        64_000_000, ge=1_000_000, description="queued for a peer, then the link is given up"
    )


class GatewaySettings(Room):
    """Clients and their connections."""

    host: Hosts = Field(
        ["127.0.0.1"], description="addresses to listen on; :: for all, 0.0.0.0 for all of IPv4"
    )
    port: int = Field(4000, ge=0, le=65_535, description="to listen on; 0 lets the kernel choose")
    reuse_port: bool = Field(False, description="share the port with other gateways (SO_REUSEPORT)")
    own_port: int | None = Field(
        None, ge=0, le=65_535, description="a second port, of this gateway alone; 0 lets the kernel choose"
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the chain: then clients connect by https and wss only"
    )
    tls_key: Path | None = Field(None, description="PEM file of its key; in that of the chain if not set")
    url_host: str = Field(
        "localhost", min_length=1, description="the host of the pages that may connect (Origin check)"
    )
    trusted_proxies: Networks = Field(
        [], description="networks whose Forwarded and X-Forwarded-* headers say who the client is"
    )
    proxy_protocol: Literal["off", "required"] = Field(
        "off", description="whether connections to `port` begin with a PROXY header, version 1 or 2"
    )
    idle_timeout_seconds: Seconds = Field(60.0, description="without a byte from a client")
    handshake_timeout_seconds: Seconds = Field(
        10.0, description="for a request's headers, and again for its body, then 408"
    )
    keepalive_seconds: Seconds = Field(75.0, description="between two HTTP requests of one connection")
    max_head_bytes: int = Field(
        65_536, ge=1_000, description="of a request's line and headers, then 414 or 431"
    )
    max_body_bytes: int = Field(8_000_000, ge=1_000, description="of one HTTP request, then 413")
    max_bodies_bytes: int = Field(
        64_000_000, ge=1_000, description="of all HTTP requests being read or answered, then 503"
    )
    max_frame_bytes: int = Field(1_000_000, ge=1, description="of a client's message")
    max_fragments: int = Field(
        65_536, ge=1, description="frames of one message, then its connection is closed with 1008"
    )
    max_channels_per_socket: int = Field(100, ge=1, description="channels joined on one connection")
    max_unsent_bytes: int = Field(
        4_000_000, ge=1, description="a client may be behind, then it is closed as too slow"
    )
    max_pending_bytes: int = Field(
        1_000_000, ge=1, description="of messages that wait for pending joins, then reading pauses"
    )
    pause_publisher_bytes: int = Field(
        1_000_000, ge=1, description="a client may be behind, then `pause_publisher` topics wait for it"
    )
    pause_publisher_seconds: Seconds = Field(
        10.0, description="they wait for one client, then it is closed as too slow"
    )
    worker_wait_seconds: float = Field(
        5.0, ge=0, le=MAX_SECONDS, description="a join waits for a worker to appear"
    )
    bus_wait_seconds: Seconds = Field(
        5.0, description="a join waits for the bus to take its topic, then it is refused"
    )
    max_joins_waiting: int = Field(
        100_000, ge=0, description="joins that wait for a worker, and as many for the bus"
    )
    max_topic_rest_seconds: float = Field(
        300.0,
        ge=1,
        le=MAX_SECONDS,
        description="for which a topic whose joins end workers is refused, at most",
    )


class LimitSettings(Room):
    """What one socket may send; a channel class's own is `Channel.rate_limit`."""

    pushes_per_second: Rate | None = Field(None, description="of one socket; unlimited if not set")
    push_burst: float = Field(50.0, ge=1, description="pushes at once")
    joins_per_second: Rate | None = Field(None, description="of one socket; unlimited if not set")
    join_burst: float = Field(50.0, ge=1, description="joins at once")
    bytes_per_second: Rate | None = Field(None, description="of one socket; unlimited if not set")
    byte_burst: float = Field(1_000_000.0, ge=1, description="bytes at once")


class WorkerSettings(Room):
    """Channels."""

    max_mailbox_messages: int = Field(
        10_000, ge=1, description="that wait for one channel, then it crashes"
    )
    max_mailbox_bytes: int = Field(
        64_000_000, ge=1, description="of pushes and broadcasts that wait for one channel, then it crashes"
    )
    pause_mailbox_messages: int = Field(
        1_000, ge=1, description="that wait for one channel, then its client is not read from"
    )
    pause_mailbox_bytes: int = Field(
        2_000_000, ge=1, description="that wait for one channel, then its client is not read from"
    )
    kill_seconds: Seconds = Field(
        5.0, description="a callback may run on when its channel is replaced or stopped"
    )
    join_timeout_seconds: Seconds | None = Field(
        None, description="a join may take, then it is refused; unbounded if not set"
    )
    max_snapshot_bytes: int = Field(
        1_000_000, ge=1, le=MAX_SNAPSHOT_BYTES, description="of one channel that moves to another worker"
    )


class LongPollSettings(Room):
    """Clients without WebSocket."""

    window_seconds: Seconds = Field(10.0, description="a poll waits at most for a message")
    relay_timeout_seconds: Seconds = Field(
        2.0, description="the gateway that holds a session has to answer, beyond the window"
    )
    token_max_age_seconds: Seconds = Field(1_209_600.0, description="a session's token is valid")
    max_sessions: int = Field(10_000, ge=1, description="held by one gateway at a time")


class ZeroMQSettings(Room):
    """Clients over plain ZeroMQ."""

    bind: Address | None = Field(
        None,
        description="where a gateway listens for ZeroMQ clients, tcp:// or ipc://; not at all if not set",
    )
    max_clients: int = Field(50_000, ge=1, description="connected to one gateway at a time")
    keepalive_seconds: Keepalive = Field(
        5, description="of silence, then TCP asks whether a client is there"
    )
    keepalive_timeout_seconds: Keepalive = Field(
        15, description="without an answer to TCP, then a client is gone"
    )
    high_water_mark: HighWaterMark = Field(1_000, description="messages queued for one client by ZeroMQ")


class DrainSettings(Room):
    """How a gateway that stops sends its clients away."""

    batch_size: int = Field(10_000, ge=1, description="connections closed at a time")
    interval_seconds: float = Field(2.0, ge=0, le=MAX_SECONDS, description="between two batches")
    shutdown_seconds: Seconds = Field(30.0, description="for all of them, then the rest is closed at once")


class SecuritySettings(Room):
    """Secrets and keys."""

    secret_key: SecretStr | None = Field(
        None, description="signs tokens; equal on all nodes, at least 20 bytes; random if not set"
    )
    node_key: Path | None = Field(
        None, description="this process's own CURVE pair, a file of `mesh keys`; no CURVE if not set"
    )
    keys: Path = Field(Path("keys"), description="directory of the CURVE keys that are accepted")

    @field_validator("secret_key")
    @classmethod
    def _check_secret(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value().encode()) < 20:
            raise ValueError("want at least 20 bytes, e.g. what `openssl rand -hex 32` prints")
        return secret


class LogSettings(Room):
    """Logs, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least to log")
    format: Literal["console", "json", "logfmt"] = Field(
        "console", description="of a line; json and logfmt make a record of whatever a node prints"
    )
    configure: bool = Field(
        True, description="false: the application configures logging, and log.level has no effect"
    )
    node: str | None = Field(None, description="the node's name in each line; its kind if not set")
    similar_lines_per_second: int = Field(
        50, ge=0, description="of one event, then the rest is left out and counted; 0 for no limit"
    )
    filter_parameters: Texts = Field(
        list(DEFAULT_FILTER), description="parameters whose names contain one of these are hidden"
    )
    keep_parameters: Annotated[list[str] | None, NoDecode, BeforeValidator(split)] = Field(
        None, description="if set, all parameters but these are hidden"
    )


class AdminSettings(Room):
    """A node's own HTTP port for operators: /metrics, /healthz, /readyz."""

    host: Hosts = Field(["127.0.0.1"], description="addresses to listen on")
    port: int | None = Field(None, ge=0, le=65_535, description="to listen on; none if not set")
    ready_seconds: Seconds = Field(
        3.0, description="since the last round trip through the bus, then a node is not ready"
    )
    stall_warning_seconds: Seconds = Field(
        0.25, description="that callbacks may hold up the event loop, then a warning is logged"
    )


class GarbageSettings(Room):
    """Python's garbage collection in a node's process."""

    full_seconds: Seconds | None = Field(
        600.0,
        description="between two full collections, which stop the node; not set: as Python does it",
    )
