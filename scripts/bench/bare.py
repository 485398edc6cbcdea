"""The least that a server in Python can do: one loop, no limits, no queues; ready bytes to every socket.

It implements as much of the V2 protocol as wsload uses. Its cost per delivery is that of `socket.send` in
the kernel and the interpreter; whatever a real server uses beyond that is the server's own cost.

    python scripts/bench/bare.py        # prints its port, runs until SIGTERM
"""

import json
import select
import socket
from typing import Any

from mesh.gateway.http import upgrade_request
from mesh.gateway.transports.websocket import frames, upgrade
from mesh.protocol.serializers.base import Frame

MAX_BYTES = 1_000_000


class Client:
    """One connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._head: bytes | None = b""
        self._reader = frames.FrameReader(MAX_BYTES)

    def messages(self) -> list[list[Any]]:
        """Return the messages received so far. Raises ConnectionError at the end of the connection."""
        data = self.sock.recv(65_536)
        if not data:
            raise ConnectionError
        if self._head is not None:
            data = self._upgrade(self._head + data)
        received, error = self._reader.feed(data)
        if error is not None:
            raise ConnectionError(str(error))
        return [json.loads(each.payload) for each in received if each.opcode == frames.TEXT]

    def send(self, *message: Any) -> None:
        """Send a message."""
        self.sock.send(encode(*message))

    def _upgrade(self, data: bytes) -> bytes:
        """Answer the request once it is complete; return the bytes that follow it."""
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            self._head = data
            return b""
        request = upgrade_request.parse(head + end)
        if request is None:
            raise ConnectionError("not a valid upgrade request")
        self.sock.send(upgrade.response(request.headers))
        self._head = None
        return rest


def encode(*message: Any) -> bytes:
    """Return the frame of a message."""
    return frames.message_frame(Frame(json.dumps(message, separators=(",", ":")).encode(), False))


class Server:
    """Sends each `new_msg` to all members of its topic."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._clients: dict[int, Client] = {}
        self._topics: dict[str, list[Client]] = {}
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self.port: int = self._listener.getsockname()[1]

    def run(self) -> None:
        """Serve until the process ends."""
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == self._listener.fileno():
                    self._accept()
                else:
                    self._read(self._clients[descriptor])

    def _accept(self) -> None:
        sock, _ = self._listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[sock.fileno()] = Client(sock)
        self._poll.register(sock, select.EPOLLIN)

    def _read(self, client: Client) -> None:
        try:
            for message in client.messages():
                self._handle(client, message)
        except ConnectionError:
            self._poll.unregister(client.sock)
            del self._clients[client.sock.fileno()]
            for members in self._topics.values():
                if client in members:
                    members.remove(client)
            client.sock.close()

    def _handle(self, client: Client, message: list[Any]) -> None:
        join_ref, ref, topic, event, payload = message
        if event == "new_msg":
            data = encode(None, None, topic, event, payload)
            for member in self._topics[topic]:
                member.sock.send(data)
            return
        if event == "phx_join":
            self._topics.setdefault(topic, []).append(client)
        client.send(join_ref, ref, topic, "phx_reply", {"status": "ok", "response": {}})


if __name__ == "__main__":
    server = Server()
    print(f"listening http://127.0.0.1:{server.port}", flush=True)
    server.run()
