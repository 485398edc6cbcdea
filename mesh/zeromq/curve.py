"""CURVE: encrypted connections, and the keys that may connect (CurveZMQ: ZeroMQ RFC 26; ZAP: ZeroMQ RFC
27).

A node's keys belong to its context (`new_context`): all TCP listeners and connections of the context use
them (sockets.py). Without keys no socket is reachable from, or connects to, another machine. keys.py reads
the files.
"""

import logging
import threading
import time

import zmq
from zmq.auth.thread import ThreadAuthenticator

from mesh.settings import SecuritySettings
from mesh.telemetry import counters, get_logger
from mesh.zeromq.keys import NODES, PROGRAMS, PROXY, KeyDirectory, read_pair
from mesh.zeromq.randomness import seed

log = get_logger(__name__)

BUS = "bus"
"""The listeners of a proxy: nodes and programs may connect."""
LINKS = "links"
"""The listener of a worker: only nodes may connect, as links carry what gateways authenticated."""
CLIENTS = "clients"
"""The listener for clients of a gateway: any key may connect; SocketHandler.connect authenticates."""

ROLES = {BUS: (NODES, PROGRAMS), LINKS: (NODES,)}
REREAD_SECONDS = 1.0
"""A revoked key is refused at the latest after this time."""
REREAD_FOR_UNKNOWN_SECONDS = 0.05
"""A new key is accepted at the latest after this time: soon enough for a key that was refused first, and
without much work when many unknown keys are presented."""


class Keys:
    """This process's own key pair, and the keys that it accepts.

    Raises:
        SettingsError: if a key file cannot be read.
    """

    def __init__(self, security: SecuritySettings) -> None:
        assert security.node_key is not None
        self.public, self.secret = read_pair(security.node_key)
        self._directory = KeyDirectory(security.keys)
        self._known: dict[bytes, str] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()  # used by the event loop and by the thread that answers ZAP requests

    def proxy(self) -> bytes:
        """Return the public key of the proxies, from the current file.

        Raises:
            SettingsError: if there is no such key.
        """
        return self._directory.public(NODES, PROXY)

    def role(self, public: bytes) -> str | None:
        """Return the role of a key: NODES, PROGRAMS or None if unknown. Changes take effect in a second."""
        with self._lock:
            now = time.monotonic()
            max_age_seconds = REREAD_SECONDS if public in self._known else REREAD_FOR_UNKNOWN_SECONDS
            if now - self._read_at > max_age_seconds:
                self._read_at = now
                self._known = self._directory.roles()
            return self._known.get(public)


class _KeyCheck:
    """Decides for ZAP (ZeroMQ RFC 27) whether a key may connect; called in a separate thread."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._logged_at = float("-inf")

    def callback(self, domain: str, key: bytes) -> bool:
        """Return whether this key may connect to the listeners of this domain."""
        try:
            if domain == CLIENTS or self._keys.role(key) in ROLES.get(domain, ()):
                return True
            counters.count("curve_keys_refused")
            now = time.monotonic()
            if now - self._logged_at > REREAD_SECONDS:  # unknown peers must not fill the log
                self._logged_at = now
                log.warning("a key that is not allowed was refused", listener=domain, key=key.decode())
        except Exception as error:  # the thread must survive; a key that cannot be checked is refused
            log.error("a key could not be checked", exc_info=error)
        return False


class NodeContext(zmq.Context[zmq.Socket[bytes]]):
    """A ZeroMQ context with the keys of its process.

    Attributes:
        keys: the keys, or None: then nothing listens on or connects to other machines.
    """

    keys: Keys | None = None
    _authenticator: ThreadAuthenticator | None = None

    def enable_curve(self, keys: Keys) -> None:
        """Use these keys and answer ZAP requests. Must be called before the first socket is created."""
        self.keys = keys
        logger = logging.getLogger("mesh.zeromq.zap")
        logger.setLevel(logging.WARNING)
        self._authenticator = ThreadAuthenticator(self, log=logger)
        key_check = _KeyCheck(keys)
        for domain in (BUS, LINKS, CLIENTS):
            self._authenticator.configure_curve_callback(domain, key_check)
        self._authenticator.start()

    def term(self) -> None:
        """Terminate the context, as of any context. New connections are refused from now on."""
        if self._authenticator is not None and not self.closed:
            self._authenticator.stop()
        super().term()


def new_context(security: SecuritySettings) -> NodeContext:
    """Create a context with the keys of the settings, if any are configured.

    Raises:
        SettingsError: if a key cannot be read.
    """
    seed()
    context = NodeContext()
    if security.node_key is not None:
        try:
            context.enable_curve(Keys(security))
        except BaseException:
            context.term()
            raise
    return context


def proxy_key(socket: zmq.Socket[bytes], proxy: str) -> bytes | None:
    """Return the public key to expect from a proxy; None if CURVE is not used.

    Raises:
        SettingsError: if there are keys, but none for the proxies.
    """
    keys = keys_of(socket)
    return keys.proxy() if keys is not None and proxy.startswith("tcp://") else None


def keys_of(socket: zmq.Socket[bytes]) -> Keys | None:
    """Return the keys of a socket's context."""
    return getattr(socket.context, "keys", None)
