"""The sections `worker`, `drain`, `security`, `admin` and `gc`."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, field

from mesh.settings.hosts import Hosts
from mesh.settings.secret import Secret
from mesh.settings.section import Section
from mesh.settings.values import MAX_SECONDS, Check, Port, Seconds

MAX_SNAPSHOT_BYTES = 8_000_000
"""The same limit as for a payload, well below what a link carries by default."""


def _check_secret(secret: Secret) -> Secret:
    if len(secret.get_secret_value().encode()) < 20:
        raise ValueError("want at least 20 bytes, e.g. the output of `openssl rand -hex 32`")
    return secret


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
    max_recovery_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="most bytes of missed broadcasts that a joining client is sent; one that has "
            "missed more has not recovered. Keep it well below gateway.max_unsent_bytes",
        ),
    ] = 2_000_000
    max_snapshot_bytes: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_SNAPSHOT_BYTES,
            description="largest state of one channel that moves to another worker",
        ),
    ] = 1_000_000


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
