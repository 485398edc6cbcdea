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
            raise ValueError("want a fixed port or path: every node connects to the address of a proxy")
    return proxies


def _check_secret(secret: Secret) -> Secret:
    if len(secret.get_secret_value().encode()) < 20:
        raise ValueError("want at least 20 bytes, e.g. the output of `openssl rand -hex 32`")
    return secret


class BusSettings(Section, frozen=True):
    """The broadcast plane."""

    proxies: Annotated[
        Texts,
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


class GatewaySettings(Section, frozen=True):
    """Clients and their connections."""

    host: Annotated[
        Hosts,
        Meta(description="addresses to listen on; :: for all addresses, 0.0.0.0 for all IPv4 addresses"),
    ] = field(default_factory=lambda: ["127.0.0.1"])
    port: Annotated[Port, Meta(description="port to listen on; 0 lets the kernel choose one")] = 4000
    reuse_port: Annotated[
        bool,
        Meta(
            description="whether other gateways on this machine may listen on the same port (SO_REUSEPORT)"
        ),
    ] = False
    own_port: Annotated[
        Port | None,
        Meta(description="second port, on which only this gateway listens; 0 lets the kernel choose one"),
    ] = None
    tls_certificate: Annotated[
        Path | None,
        Meta(
            description="PEM file of the certificate chain; if set, clients must connect by https and wss"
        ),
    ] = None
    tls_key: Annotated[
        Path | None,
        Meta(
            description="PEM file of the private key; if not set, the key is read from the certificate file"
        ),
    ] = None
    url_host: Annotated[
        str,
        Meta(
            min_length=1,
            description="host of the pages that may connect; the Origin header is compared with it",
        ),
    ] = "localhost"
    trusted_proxies: Annotated[
        Networks,
        Meta(
            description="networks of the reverse proxies whose Forwarded and X-Forwarded-* headers are "
            "trusted"
        ),
    ] = field(default_factory=list)
    proxy_protocol: Annotated[
        Literal["off", "required"],
        Meta(
            description="whether connections to `port` begin with a PROXY protocol header, version 1 or 2"
        ),
    ] = "off"
    idle_timeout_seconds: Annotated[
        Seconds, Meta(description="a connection on which the client sends nothing for this long is closed")
    ] = 60.0
    handshake_timeout_seconds: Annotated[
        Seconds,
        Meta(
            description="time limit for receiving the headers of a request, and again for its body; "
            "then the answer is 408"
        ),
    ] = 10.0
    keepalive_seconds: Annotated[
        Seconds, Meta(description="an HTTP connection without a request for this long is closed")
    ] = 75.0
    max_head_bytes: Annotated[
        int,
        Meta(
            ge=1_000,
            description="largest request line with headers; a larger one is answered with 414 or 431",
        ),
    ] = 65_536
    max_body_bytes: Annotated[
        int,
        Meta(ge=1_000, description="largest body of an HTTP request; a larger one is answered with 413"),
    ] = 8_000_000
    max_bodies_bytes: Annotated[
        int,
        Meta(
            ge=1_000,
            description="most bytes of request bodies in memory at a time; a request beyond that is "
            "answered with 503",
        ),
    ] = 64_000_000
    max_frame_bytes: Annotated[
        int,
        Meta(ge=1, description="largest message of a client; a larger one closes its connection with 1009"),
    ] = 1_000_000
    max_fragments: Annotated[
        int, Meta(ge=1, description="most frames of one message; more close the connection with 1008")
    ] = 65_536
    max_channels_per_socket: Annotated[
        int, Meta(ge=1, description="most channels joined on one connection; further joins are refused")
    ] = 100
    max_unsent_bytes: Annotated[
        int, Meta(ge=1, description="unsent bytes of one client above which it is closed as too slow")
    ] = 4_000_000
    max_pending_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="bytes of one client's messages waiting for pending joins above which no more "
            "is read from it",
        ),
    ] = 1_000_000
    pause_publisher_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="unsent bytes of one client above which its topics with slow_consumer "
            '"pause_publisher" are paused',
        ),
    ] = 1_000_000
    pause_publisher_seconds: Annotated[
        Seconds,
        Meta(
            description="longest time for which topics are paused for one client; then it is closed as "
            "too slow"
        ),
    ] = 10.0
    worker_wait_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=MAX_SECONDS,
            description="longest time for which a join waits until a worker for its topic appears; then "
            "it is refused",
        ),
    ] = 5.0
    bus_wait_seconds: Annotated[
        Seconds,
        Meta(
            description="longest time for which a join waits for the subscription to its topic; then it "
            "is refused"
        ),
    ] = 5.0
    max_joins_waiting: Annotated[
        int,
        Meta(
            ge=0,
            description="most joins that wait for a worker, and most that wait for a subscription; "
            "further joins are refused",
        ),
    ] = 100_000
    max_topic_rest_seconds: Annotated[
        float,
        Meta(
            ge=1,
            le=MAX_SECONDS,
            description="longest time for which joins of a topic are refused after they have ended workers",
        ),
    ] = 300.0


class LimitSettings(Section, frozen=True):
    """Rate limits of one socket; `Channel.rate_limit` sets those of a channel class."""

    pushes_per_second: Annotated[
        Rate | None, Meta(description="most pushes per second on one socket; unlimited if not set")
    ] = None
    push_burst: Annotated[float, Meta(ge=1, description="most pushes that one socket may send at once")] = (
        50.0
    )
    joins_per_second: Annotated[
        Rate | None, Meta(description="most joins per second on one socket; unlimited if not set")
    ] = None
    join_burst: Annotated[float, Meta(ge=1, description="most joins that one socket may send at once")] = (
        50.0
    )
    bytes_per_second: Annotated[
        Rate | None, Meta(description="most bytes per second from one socket; unlimited if not set")
    ] = None
    byte_burst: Annotated[float, Meta(ge=1, description="most bytes that one socket may send at once")] = (
        1_000_000.0
    )


class WorkerSettings(Section, frozen=True):
    """Channels in a worker."""

    max_mailbox_messages: Annotated[
        int, Meta(ge=1, description="messages waiting for one channel above which it crashes")
    ] = 10_000
    max_mailbox_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="bytes of pushes and broadcasts waiting for one channel above which it crashes",
        ),
    ] = 64_000_000
    pause_mailbox_messages: Annotated[
        int,
        Meta(
            ge=1, description="messages waiting for one channel above which no more is read from its client"
        ),
    ] = 1_000
    pause_mailbox_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="bytes of pushes and broadcasts waiting for one channel above which no more is "
            "read from its client",
        ),
    ] = 2_000_000
    kill_seconds: Annotated[
        Seconds,
        Meta(
            description="longest time for which a callback may continue to run after its channel was "
            "replaced or stopped"
        ),
    ] = 5.0
    join_timeout_seconds: Annotated[
        Seconds | None,
        Meta(
            description="longest time that `join` may take; then the join is refused. Unlimited if not set"
        ),
    ] = None
    max_snapshot_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_SNAPSHOT_BYTES,
            description="largest state of one channel that moves to another worker",
        ),
    ] = 1_000_000


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


class DrainSettings(Section, frozen=True):
    """How a stopping gateway closes its clients' connections."""

    batch_size: Annotated[int, Meta(ge=1, description="number of connections closed at a time")] = 10_000
    interval_seconds: Annotated[
        float, Meta(ge=0, le=MAX_SECONDS, description="pause between two batches")
    ] = 2.0
    shutdown_seconds: Annotated[
        Seconds,
        Meta(
            description="time limit for closing all connections in batches, then the rest is closed at "
            "once; also for a worker to move its channels"
        ),
    ] = 30.0


class SecuritySettings(Section, frozen=True):
    """Secrets and keys."""

    secret_key: Annotated[
        Annotated[Secret, Check(_check_secret)] | None,
        Meta(
            description="key that signs tokens, at least 20 bytes and the same on all nodes; random if "
            "not set"
        ),
    ] = None
    node_key: Annotated[
        Path | None,
        Meta(
            description="file with this process's own CURVE key pair, made by `mesh keys`; CURVE is "
            "disabled if not set"
        ),
    ] = None
    keys: Annotated[Path, Meta(description="directory of the public CURVE keys that are accepted")] = Path(
        "keys"
    )


class AdminSettings(Section, frozen=True):
    """A node's own HTTP port for operators: /metrics, /healthz, /readyz."""

    host: Annotated[Hosts, Meta(description="addresses to listen on")] = field(
        default_factory=lambda: ["127.0.0.1"]
    )
    port: Annotated[
        Port | None, Meta(description="port to listen on; the node does not listen if it is not set")
    ] = None
    ready_seconds: Annotated[
        Seconds,
        Meta(
            description="a node is reported as not ready when its last round trip through the bus is "
            "older than this"
        ),
    ] = 3.0
    stall_warning_seconds: Annotated[
        Seconds,
        Meta(description="a warning is logged when callbacks block the event loop for longer than this"),
    ] = 0.25


class GarbageSettings(Section, frozen=True):
    """Python's garbage collection in a node's process."""

    full_seconds: Annotated[
        Seconds | None,
        Meta(
            description="interval of full collections, during which the node is blocked; if not set, "
            "Python decides"
        ),
    ] = 600.0
