"""Every ZeroMQ socket of the mesh: one function per role, with all options set before bind or connect.

Options that are set later have no effect (libzmq issue 4532). With libzmq's defaults a process may wait for
ever on exit, messages may have any size, messages beyond 1,000 are dropped silently, and a dead peer is
never noticed.
"""

from typing import NamedTuple

import zmq

from mesh.addresses import is_local, missing_keys_error
from mesh.errors import NodeError
from mesh.settings import BusSettings, LinkSettings, ZeroMQSettings
from mesh.zeromq.curve import keys_of
from mesh.zeromq.keys import NODES
from mesh.zeromq.randomness import routing_id

LINGER_MS = 500
"""How long queued messages may take to be sent when a node stops."""
HANDSHAKE_MS = 5_000
"""A peer that does not complete the ZMTP handshake within this time is disconnected."""
CONNECT_MS = 2_000
"""A connection attempt is repeated after this time: the kernel doubles the pause between its own attempts,
and could take two minutes to notice that the network works again."""
RECONNECT_MS = 50
RECONNECT_MAX_MS = 1_000
NEVER_MS = 24 * 3600 * 1000
LINK_QUEUE_BATCHES = 16
"""The most batches in a ZeroMQ queue of a link; others wait where bytes are counted (link/batches.py)."""
LINK_RECEIVED_BATCHES = 256
"""The most batches in a worker's queue of what one gateway sends."""

CLIENT_KEEPALIVE_SECONDS = 5
CLIENT_HIGH_WATER_MARK = 1_000


class ClientCurve(NamedTuple):
    """The keys of a client's encrypted connection, each 40 bytes of Z85: the server's, and its own pair."""

    server_key: bytes
    public_key: bytes
    secret_key: bytes


def bus_publisher(context: zmq.Context[zmq.Socket[bytes]], bus: BusSettings) -> zmq.Socket[bytes]:
    """Create the XPUB of a node. Receiving a subscription shows that the proxy is connected."""
    socket = _socket(context, zmq.XPUB, bus.max_message_bytes, bus.high_water_mark)
    _heartbeat(socket, bus.heartbeat_seconds, bus.heartbeat_timeout_seconds)
    socket.setsockopt(zmq.XPUB_NODROP, 1)  # a full queue fails with EAGAIN instead of dropping silently
    _disable_reconnect(socket)  # what a broken connection has not sent is sent by another path
    return socket


def bus_subscriber(context: zmq.Context[zmq.Socket[bytes]], bus: BusSettings) -> zmq.Socket[bytes]:
    """Create the SUB of a node."""
    socket = _socket(context, zmq.SUB, bus.max_message_bytes, bus.high_water_mark)
    _heartbeat(socket, bus.heartbeat_seconds, bus.heartbeat_timeout_seconds)
    return socket


def proxy_frontend(context: zmq.Context[zmq.Socket[bytes]], bus: BusSettings) -> zmq.Socket[bytes]:
    """Create the socket for publishers: it subscribes to everything, so that only the backend filters.

    SUB instead of XSUB: an XSUB would forward each subscription of the mesh to each publisher, and every
    node would keep every topic of all others in memory, for a filter that passes everything.
    """
    socket = _socket(context, zmq.SUB, bus.max_message_bytes, bus.high_water_mark)
    _heartbeat(socket, bus.heartbeat_seconds, bus.heartbeat_timeout_seconds)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    return socket


def proxy_backend(context: zmq.Context[zmq.Socket[bytes]], bus: BusSettings) -> zmq.Socket[bytes]:
    """Create the socket for subscribers. PUB: an XPUB that does not report subscriptions."""
    socket = _socket(context, zmq.PUB, bus.max_message_bytes, bus.high_water_mark)
    _heartbeat(socket, bus.heartbeat_seconds, bus.heartbeat_timeout_seconds)
    socket.setsockopt(zmq.XPUB_NODROP, 1)  # wait for a slow node; heartbeats disconnect a dead one
    return socket


def link_dealer(context: zmq.Context[zmq.Socket[bytes]], link: LinkSettings) -> zmq.Socket[bytes]:
    """Create a gateway's end of the link to one worker."""
    socket = _socket(context, zmq.DEALER, link.max_message_bytes, _link_queue(link))
    socket.setsockopt(zmq.ROUTING_ID, routing_id())
    _heartbeat(socket, link.heartbeat_seconds, link.heartbeat_timeout_seconds)
    _disable_reconnect(socket)  # when the connection breaks, the worker ends its channels
    return socket


def link_router(context: zmq.Context[zmq.Socket[bytes]], link: LinkSettings) -> zmq.Socket[bytes]:
    """Create a worker's end of the links from all gateways."""
    socket = _socket(context, zmq.ROUTER, link.max_message_bytes, _link_queue(link))
    _heartbeat(socket, link.heartbeat_seconds, link.heartbeat_timeout_seconds)
    # libzmq aborts a process if a connection ends while its receive queue is full (libzmq issue 4364). That
    # happened to workers that woke from a freeze, so everything that gateways send until then must fit.
    socket.setsockopt(zmq.RCVHWM, min(link.high_water_mark, LINK_RECEIVED_BATCHES))
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # sending to a gateway that is gone fails
    return socket


def _link_queue(link: LinkSettings) -> int:
    return min(link.high_water_mark, LINK_QUEUE_BATCHES)


def client_router(
    context: zmq.Context[zmq.Socket[bytes]], settings: ZeroMQSettings, max_frame_bytes: int
) -> zmq.Socket[bytes]:
    """Create a gateway's end of the connections of all ZeroMQ clients."""
    # ZeroMQ ends the connection for a longer message; a shorter one over the limit is closed with a reason.
    largest = max(2 * max_frame_bytes, 1_000_000)
    socket = _socket(context, zmq.ROUTER, largest, settings.high_water_mark)
    _keepalive(socket, settings.keepalive_seconds, settings.keepalive_timeout_seconds)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # sending to a client that is gone fails
    return socket


def bind_monitored(socket: zmq.Socket[bytes], address: str, domain: str) -> tuple[str, zmq.Socket[bytes]]:
    """Bind a ROUTER; return its address, and a monitor of disconnections. Raises as `bind`."""
    monitor_socket = monitor(socket, zmq.EVENT_DISCONNECTED)
    try:
        return bind(socket, address, domain), monitor_socket
    except Exception:  # an open socket would block the termination of its context
        socket.disable_monitor()
        monitor_socket.close()
        socket.close()
        raise


def client_dealer(
    context: zmq.Context[zmq.Socket[bytes]], max_message_bytes: int, curve: ClientCurve | None
) -> zmq.Socket[bytes]:
    """Create a ZeroMQ client's end of its connection to a gateway."""
    socket = _socket(context, zmq.DEALER, max_message_bytes, CLIENT_HIGH_WATER_MARK)
    socket.setsockopt(zmq.ROUTING_ID, routing_id())
    _keepalive(socket, CLIENT_KEEPALIVE_SECONDS, 3 * CLIENT_KEEPALIVE_SECONDS)
    _disable_reconnect(socket)  # when the connection breaks, the gateway forgets the client
    if curve is not None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, curve.server_key)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, curve.public_key)
        socket.setsockopt(zmq.CURVE_SECRETKEY, curve.secret_key)
    return socket


def monitor(socket: zmq.Socket[bytes], events: int) -> zmq.Socket[bytes]:
    """Return a socket that reports connection events of `socket`."""
    return socket.get_monitor_socket(events)


def bind(socket: zmq.Socket[bytes], address: str, domain: str) -> str:
    """Bind, and return the address with the port that the kernel chose.

    Over TCP the socket is a CURVE server if its context has keys; `domain` (BUS, LINKS or CLIENTS of
    mesh.zeromq.curve) determines which keys may connect.

    Raises:
        NodeError: if the address is in use or cannot be used.
        SettingsError: if the address can be reached from other machines and there are no keys.
    """
    _prepare(socket, address)
    keys = keys_of(socket)
    if keys is None:
        if not is_local(address):
            raise missing_keys_error(address, "cannot listen")
    elif address.startswith("tcp://"):
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, domain.encode())
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # refuse all keys while ZAP requests are not answered
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise NodeError(f"cannot listen on {address}: {_reason(error)}") from None
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\x00")


def connect(socket: zmq.Socket[bytes], address: str, server_key: bytes | None) -> None:
    """Connect; over TCP with CURVE, if the socket's context has keys.

    `server_key` is the public key, in Z85, of the expected peer.

    Raises:
        NodeError: if the address cannot be used, or only one side has keys.
        SettingsError: if the address is on another machine and there are no keys.
    """
    _prepare(socket, address)
    keys = keys_of(socket)
    if keys is None:
        if not is_local(address):
            raise missing_keys_error(address, "cannot connect")
        if server_key is not None and address.startswith("tcp://"):
            raise NodeError(f"{address} requires CURVE; set MESH_SECURITY__NODE_KEY for this process")
    elif address.startswith("tcp://"):
        if server_key is None or keys.role(server_key) != NODES:
            announced = f"the key {server_key.decode()}, which is not a node's" if server_key else "no key"
            raise NodeError(f"{address} has {announced}; this process connects only to keys in keys/nodes")
        socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
    _connect(socket, address)


def connect_client(socket: zmq.Socket[bytes], address: str) -> None:
    """Connect a client's DEALER.

    Raises:
        NodeError: if the address cannot be used.
    """
    _prepare(socket, address)
    _connect(socket, address)


def _connect(socket: zmq.Socket[bytes], address: str) -> None:
    try:
        socket.connect(address)
    except zmq.ZMQError as error:
        raise NodeError(f"cannot connect to {address}: {_reason(error)}") from None


def _reason(error: zmq.ZMQError) -> str:
    return zmq.strerror(error.errno) if error.errno is not None else str(error)


def _prepare(socket: zmq.Socket[bytes], address: str) -> None:
    if "[" in address:  # if always enabled, the address 127.0.0.1 would become ::ffff:127.0.0.1
        socket.setsockopt(zmq.IPV6, 1)


def _socket(
    context: zmq.Context[zmq.Socket[bytes]],
    kind: int,
    max_message_bytes: int,
    high_water_mark: int,
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MS)
    socket.setsockopt(zmq.MAXMSGSIZE, max_message_bytes)
    socket.setsockopt(zmq.SNDHWM, high_water_mark)
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    return socket


def _disable_reconnect(socket: zmq.Socket[bytes]) -> None:
    """Do not reconnect after a connection breaks; the next one uses a new socket.

    This is not done with an interval of -1 or IMMEDIATE: libzmq would then drop, with the connection,
    messages that were received but not read, such as the last replies of a worker that stops.
    """
    socket.setsockopt(zmq.RECONNECT_IVL, NEVER_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 0)


def _heartbeat(socket: zmq.Socket[bytes], interval: float, timeout: float) -> None:
    socket.setsockopt(zmq.HEARTBEAT_IVL, int(interval * 1000))
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, int(timeout * 1000))


def _keepalive(socket: zmq.Socket[bytes], interval: int, timeout: int) -> None:
    """Detect dead peers between clients and gateways by TCP, and frozen ones by the channels' heartbeats.

    ZeroMQ's heartbeats are not used: with them libzmq 4.3.5 aborts the process if a connection ends while
    its receive queue is full (libzmq issue 4364), as that of a busy program may be.
    """
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, interval)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, interval)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, max(1, timeout // interval - 1))
    socket.setsockopt(zmq.TCP_MAXRT, timeout * 1000)
