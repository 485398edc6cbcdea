"""A worker in plain pyzmq that serves `remote:*`, and sends malformed commands on request.

The topic of a join and the event of a push determine its answer; see ANSWERS.
"""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

import msgspec
import zmq

HELLO, WELCOME, JOIN, PUSH, LEAVE, REPLACE = range(6)
JOINED, REPLY, CLOSED = 7, 9, 11
JSON, BROADCAST, ANNOUNCEMENT = 0, 1, 2
ANNOUNCE_SECONDS = 0.5
UNREADABLE = b"\xc2"

pack = msgspec.msgpack.encode
unpack = msgspec.msgpack.decode


def _echo(channel: int, push: list[Any]) -> list[Any]:
    return [REPLY, channel, 0, push[2], "ok", JSON, push[5]]


def _text_for_bytes(channel: int, push: list[Any]) -> list[Any]:
    return [REPLY, channel, 0, push[2], "ok", JSON, "text where bytes belong"]


def _not_json(channel: int, push: list[Any]) -> list[Any]:
    return [REPLY, channel, 0, push[2], "ok", JSON, b"{not json"]


def _empty(channel: int, push: list[Any]) -> list[Any]:
    return [REPLY, channel, 0, push[2], "ok", JSON, b""]


ANSWERS: dict[str, Callable[[int, list[Any]], list[Any]]] = {
    "echo": _echo,
    "text_for_bytes": _text_for_bytes,
    "not_json": _not_json,
    "empty": _empty,
}
"""The answer to a push, by its event."""


class ForeignWorker:
    """A worker in its own thread, started and stopped by `with`.

    Args:
        proxy: the proxy's address for publishers.

    Attributes:
        hellos: the number of times that gateways linked to it.
    """

    def __init__(self, proxy: str) -> None:
        self.hellos = 0
        self.id = f"foreign-{time.time_ns():x}"
        self._proxy = proxy
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._stop = threading.Event()
        self._to_publish: list[tuple[str, str, bytes]] = []
        self._sequence = 0
        self._thread = threading.Thread(target=self._run, name="foreign worker")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._context.destroy(0)

    def publish(self, topic: str, event: str, payload: bytes) -> None:
        """Broadcast these bytes as JSON, whatever they are."""
        self._to_publish.append((topic, event, payload))

    def _run(self) -> None:
        router, bus = self._context.socket(zmq.ROUTER), self._context.socket(zmq.PUB)
        router.bind("tcp://127.0.0.1:*")
        bus.connect(self._proxy)
        link = router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\x00")
        announced = 0.0
        while not self._stop.is_set():
            if time.monotonic() - announced > ANNOUNCE_SECONDS:
                announced = time.monotonic()
                self._announce(bus, link, "up")
            while self._to_publish:
                topic, event, payload = self._to_publish.pop(0)
                self._send(bus, BROADCAST, topic, event, payload)
            if router.poll(20):
                gateway, batch = router.recv_multipart()
                for command in unpack(batch):
                    self._answer(router, gateway, command)
        self._announce(bus, link, "down")

    def _announce(self, bus: "zmq.Socket[bytes]", link: str, state: str) -> None:
        announcement = {
            "version": 1,
            "node": self.id,
            "kind": "worker",
            "state": state,
            "link": link,
            "routes": [["/socket", "remote:*"]],
        }
        self._send(bus, ANNOUNCEMENT, "$nodes", "", pack(announcement))

    def _send(self, bus: "zmq.Socket[bytes]", kind: int, topic: str, event: str, payload: bytes) -> None:
        self._sequence += 1
        header = pack([1, kind, self.id, self._sequence, event, JSON, None])
        bus.send_multipart([topic.encode() + b"\0", header, payload])

    def _answer(self, router: "zmq.Socket[bytes]", gateway: bytes, command: list[Any]) -> None:
        number = command[0]
        if number == HELLO:
            self.hellos += 1
            answers = [[WELCOME, 1, self.id]]
        elif number == JOIN and "unreadable" in command[3]:
            router.send_multipart([gateway, UNREADABLE])
            return
        elif number == JOIN:
            answers = [[JOINED, command[1], [], self._sequence, JSON, b"{}"]]
        elif number == PUSH:
            answers = [ANSWERS[command[3]](command[1], command)]
        elif number == LEAVE:
            answers = [[REPLY, command[1], 0, command[2], "ok", JSON, b"{}"], [CLOSED, command[1], 0]]
        elif number == REPLACE:
            answers = [[CLOSED, command[1], 0]]
        else:
            return
        router.send_multipart([gateway, pack(answers)])
