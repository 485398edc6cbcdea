"""The vectors of the bus."""

from collections.abc import Iterator

import msgspec

from mesh.app import topics
from mesh.bus import frames
from mesh.bus.discovery import placement
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Header, Received, Recorded
from mesh.protocol.messages import BINARY, JSON, Sender
from mesh.protocol.versions import Versions
from vectors.values import EPOCH, MSGPACK, Vector, pack, readable


def bus() -> Iterator[Vector]:
    """Return bus messages of every kind, and headers that are dropped."""
    sender = Sender("gateway-1", 7, True, 3)
    delta = [0, 2, [[1, "room:1", "ana", {"phx_ref": "r", "n": 1}]], [], False]
    announced = Announcement(
        node="worker-1",
        kind="worker",
        link="tcp://127.0.0.1:40123",
        routes=(("/socket", "room:*"),),
        proxies=("tcp://127.0.0.1:5550",),
        versions=Versions(1, 1),
    )
    lost = Announcement(node="worker-1", kind="worker", state="lost")
    direct = frames.encode_direct("room:1", b'{"a":1}')
    made: list[tuple[str, str, Header, bytes]] = [
        ("broadcast", "room:1", Header(1, 1, "n", 5, "new_msg", JSON), b'{"a":1}'),
        ("broadcast of bytes", "room:1", Header(1, 1, "n", 6, "data", BINARY), b"\x00\xff"),
        ("broadcast in msgpack", "room:1", Header(1, 1, "n", 7, "new_msg", MSGPACK), pack({"a": 1})),
        ("broadcast from a channel", "room:1", Header(1, 1, "n", 8, "new_msg", JSON, sender), b"{}"),
        ("broadcast to a topic in UTF-8", "räume:1", Header(1, 1, "n", 70_000, "é", JSON), b"{}"),
        (
            "announcement of a worker",
            "$nodes",
            Header(1, 2, "worker-1", 1, "", JSON),
            placement.encode(announced),
        ),
        (
            "announcement that a link was lost",
            "$nodes",
            Header(1, 2, "g", 2, "", JSON),
            placement.encode(lost),
        ),
        ("probe", "$sync:n:1", Header(1, 3, "n", 9, "0", JSON), b""),
        (
            "tracker: gossip",
            "$presence:presence",
            Header(1, 4, "n", 10, "presence", JSON),
            pack([0, 1, 2, delta, False]),
        ),
        ("tracker: request", "$node:m", Header(1, 4, "n", 11, "presence", JSON), pack([1, 4])),
        ("tracker: transfer", "$node:m", Header(1, 4, "n", 12, "presence", JSON), pack([2, delta])),
        ("tracker: goodbye", "$presence:presence", Header(1, 4, "n", 13, "presence", JSON), pack([3])),
        ("call", "$node:g", Header(1, 5, "n", 14, "longpoll.poll", JSON), pack([1, b"session"])),
        ("answer", "$node:n", Header(1, 6, "g", 15, "longpoll.poll", JSON), pack([1, pack(["[]"])])),
        ("direct broadcast", "$node:g", Header(1, 7, "n", 16, "new_msg", JSON), direct),
        ("used key", "$once", Header(1, 8, "n", 17, "00" * 16, JSON), pack([b"f" * 16, 1])),
        ("move", "$moves", Header(1, 9, "n", 18, "", JSON), pack([1, True])),
        (
            "recorded broadcast of another node",
            "room:1",
            Received(1, 11, "w", 19, "new_msg", JSON, None, None, Recorded(EPOCH, 42, 3, "n", 5)),
            b'{"a":1}',
        ),
        (
            "recorded broadcast of a channel of its recorder",
            "room:1",
            Received(1, 11, "w", 20, "new_msg", JSON, sender, None, Recorded(EPOCH, 43, 3)),
            b"{}",
        ),
        (
            "claim of a recorder",
            "room:1",
            Received(1, 11, "v", 1, "", JSON, None, None, Recorded(EPOCH, 43, 4)),
            b"",
        ),
    ]
    for name, topic, header, data in made:
        yield {
            "id": name,
            "frames": [topics.exact(topic).hex(), frames.encode_header(header).hex(), data.hex()],
            "topic": topic,
            "header": readable(msgspec.to_builtins(header)),
            "payload": readable(msgspec.msgpack.decode(data)) if header.kind not in (1, 3, 7, 11) else None,
        }
    recorded = next(each[2] for each in made if each[2].kind == frames.RECORDED)
    yield {
        "id": "recorded broadcast that is sent again",
        "comment": "its age is the eighth element, and its position the ninth",
        "frames": [
            topics.exact("room:1").hex(),
            frames.encode_resent(frames.encode_header(recorded), 1500).hex(),
            b'{"a":1}'.hex(),
        ],
        "topic": "room:1",
        "header": [*readable(msgspec.to_builtins(recorded))[:7], 1500, [EPOCH, 42, 3, "n", 5]],
        "payload": None,
    }
    again = frames.encode_resent(frames.encode_header(made[0][2]), 1500)
    yield {
        "id": "broadcast that is sent again",
        "comment": "its age in milliseconds is an eighth element",
        "frames": [topics.exact("room:1").hex(), again.hex(), b'{"a":1}'.hex()],
        "topic": "room:1",
        "header": [*readable(msgspec.to_builtins(made[0][2])), 1500],
        "payload": None,
    }
    for name, header in (
        ("another version", pack([2, 1, "n", 5, "e", 0, None])),
        ("too short", pack([1, 1, "n"])),
        ("not an array", pack({"version": 1})),
        ("cut off", pack([1, 1, "n", 5, "e", 0, None])[:-1]),
        ("sequence is text", pack([1, 1, "n", "5", "e", 0, None])),
        ("recorded without a position", pack([1, 11, "n", 5, "e", 0, None])),
        ("recorded with an offset below 0", pack([1, 11, "n", 5, "e", 0, None, None, [EPOCH, -1, 3]])),
        ("recorded without an epoch", pack([1, 11, "n", 5, "e", 0, None, None, ["", 1, 3]])),
        ("empty", b""),
    ):
        yield {
            "id": f"dropped: {name}",
            "frames": [topics.exact("room:1").hex(), header.hex(), ""],
            "error": "dropped and counted",
        }
