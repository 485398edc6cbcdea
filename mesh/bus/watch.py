"""Watches a publisher's connection to the proxy: is it there, and has it been away?

A publisher whose proxy has gone goes on to queue for the next one (libzmq keeps the queue of a connection
that it takes up again); only what was on its way at that moment is lost, and nobody would know.
"""

import zmq
from zmq.utils.monitor import parse_monitor_message

from mesh.zeromq import sockets
from mesh.zeromq.drain import Drain

_EVENTS = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED


class ConnectionWatch:
    """One socket's connection. Must be made before the socket connects.

    Attributes:
        away: whether the peer has gone and has not come back.
        interruptions: how often it has gone.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self.away = False
        self.interruptions = 0
        self._socket = socket
        self._monitor = sockets.monitor(socket, _EVENTS)
        self._drain = Drain(self._monitor, self._event)

    def start(self) -> None:
        """Begin to watch."""
        self._drain.start()

    def look(self) -> None:
        """Take note at once of what has happened."""
        self._drain.read_now()

    def close(self) -> None:
        """Stop. Must come before the socket is closed."""
        self._drain.close()
        self._socket.disable_monitor()
        self._monitor.close()

    def _event(self, frames: list[bytes]) -> None:
        self.away = parse_monitor_message(frames)["event"] == zmq.EVENT_DISCONNECTED
        self.interruptions += self.away
