"""The sections `gateway` and `limits`: what clients connect to, and what each may use."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from mesh.settings.hosts import Hosts, Networks
from mesh.settings.section import Section
from mesh.settings.values import (
    MAX_SECONDS,
    Port,
    Rate,
    Seconds,
)


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
            description="largest request line with headers, and largest opening of a ZeroMQ client; a "
            "larger one is answered with 414, 431 or 413",
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
    max_topic_refusal_seconds: Annotated[
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
