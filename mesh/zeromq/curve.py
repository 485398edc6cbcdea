"""CURVE: encrypted connections, and which keys may connect. CurveZMQ is ZeroMQ RFC 26, ZAP RFC 27.

A node's keys travel with its context (`new_context`): whatever listens or connects over TCP with it uses
them (sockets.py). Without keys nothing leaves the machine. The files of the keys are those of keys.py.
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

log = get_logger("mesh.zeromq")

BUS = "bus"
"""A proxy's listeners: nodes and programs."""
LINKS = "links"
"""A worker's listener: nodes only, because a link carries what a gateway has authenticated."""
CLIENTS = "clients"
"""A gateway's listener for clients: any key; SocketHandler.connect authenticates."""

ROLES = {BUS: (NODES, PROGRAMS), LINKS: (NODES,)}
REREAD_SECONDS = 1.0
"""A revoked key is refused after this."""
REREAD_FOR_STRANGERS_SECONDS = 0.05
"""A new key is accepted after this: soon enough for a key that was refused first, and little work
when many unknown keys are presented."""


class Keys:
    """One process's own pair, and the keys it accepts.

    Raises:
        SettingsError: if a file cannot be read.
    """

    def __init__(self, security: SecuritySettings) -> None:
        assert security.node_key is not None
        self.public, self.secret = read_pair(security.node_key)
        self._directory = KeyDirectory(security.keys)
        self._known: dict[bytes, str] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()  # the event loop asks, and the thread that answers strangers

    def proxy(self) -> bytes:
        """The proxies' public key, as the file says now.

        Raises:
            SettingsError: if there is none.
        """
        return self._directory.public(NODES, PROXY)

    def role(self, public: bytes) -> str | None:
        """Whose key it is: NODES, PROGRAMS or, if nobody's, None. A change shows within a second."""
        with self._lock:
            now = time.monotonic()
            patience = REREAD_SECONDS if public in self._known else REREAD_FOR_STRANGERS_SECONDS
            if now - self._read_at > patience:
                self._read_at = now
                self._known = self._directory.roles()
            return self._known.get(public)


class _KeyCheck:
    """Answers for ZAP whether a key may connect; called in a thread of its own."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._logged_at = float("-inf")

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether this key may connect to the listeners of this domain."""
        try:
            if domain == CLIENTS or self._keys.role(key) in ROLES.get(domain, ()):
                return True
            counters.count("curve_keys_refused")
            now = time.monotonic()
            if now - self._logged_at > REREAD_SECONDS:  # strangers must not fill the log
                self._logged_at = now
                log.warning("a key that is not allowed was refused", listener=domain, key=key.decode())
        except Exception as error:  # the thread must live, and a doubt is a no
            log.error("a key could not be checked", exc_info=error)
        return False


class NodeContext(zmq.Context[zmq.Socket[bytes]]):
    """A ZeroMQ context with its process's keys.

    Attributes:
        keys: or None: then nothing listens or connects beyond this machine.
    """

    keys: Keys | None = None
    _authenticator: ThreadAuthenticator | None = None

    def guard(self, keys: Keys) -> None:
        """Use these keys, and answer for them. Must come before the first socket."""
        self.keys = keys
        quiet = logging.getLogger("mesh.zeromq.zap")
        quiet.setLevel(logging.WARNING)
        self._authenticator = ThreadAuthenticator(self, log=quiet)
        key_check = _KeyCheck(keys)
        for domain in (BUS, LINKS, CLIENTS):
            self._authenticator.configure_curve_callback(domain, key_check)
        self._authenticator.start()

    def term(self) -> None:
        """As of any context; newcomers are refused from now on."""
        if self._authenticator is not None and not self.closed:
            self._authenticator.stop()
        super().term()


def new_context(security: SecuritySettings) -> NodeContext:
    """A context with the keys of the settings, if they name any.

    Raises:
        SettingsError: if a key cannot be read.
    """
    seed()
    context = NodeContext()
    if security.node_key is not None:
        try:
            context.guard(Keys(security))
        except BaseException:
            context.term()
            raise
    return context


def proxy_key(socket: zmq.Socket[bytes], proxy: str) -> bytes | None:
    """The public key to expect of a proxy; None where there is no CURVE.

    Raises:
        SettingsError: if there are keys, but not that one.
    """
    keys = keys_of(socket)
    return keys.proxy() if keys is not None and proxy.startswith("tcp://") else None


def keys_of(socket: zmq.Socket[bytes]) -> Keys | None:
    """The keys of a socket's context."""
    return getattr(socket.context, "keys", None)
