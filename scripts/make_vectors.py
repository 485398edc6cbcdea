"""Writes tests/vectors/*.json from what this code sends. Run it after an intended change of a wire format.

    python scripts/make_vectors.py

The tests compare the code with these files, and so can implementations in other languages. Review the diff
before you commit it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from mesh.app import topics
from mesh.bus import frames
from mesh.bus.discovery import placement
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import Header
from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON, Sender
from mesh.protocol.serializers.registry import BY_NAME
from mesh.protocol.versions import Versions

DIRECTORY = Path(__file__).parents[1] / "tests" / "vectors"
MSGPACK = 2
pack = msgspec.msgpack.encode
Vector = dict[str, Any]


def readable(value: Any) -> Any:
    """Convert a value for JSON: bytes become {"hex": …}."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, (list, tuple)):
        return [readable(each) for each in value]
    if isinstance(value, dict):
        return {key: readable(each) for key, each in value.items()}
    return value


def client() -> Iterator[Vector]:
    """Return messages from and to clients, in every serializer."""
    v1, v2, packed = (BY_NAME[name] for name in ("v1_json", "v2_json", "v2_msgpack"))
    to_gateway = [
        ("v2 join", v2, False, b'["1","1","room:1","phx_join",{"a":1}]'),
        ("v2 heartbeat", v2, False, b'[null,"9","phoenix","heartbeat",{}]'),
        ("v2 refs may be numbers", v2, False, b'[1,2,"room:1","e",{}]'),
        ("v2 payload that is no object", v2, False, b'["1","2","room:1","e",[1,"\\u00fc"]]'),
        ("v2 binary push", v2, True, b"\x00\x01\x02\x06\x0142room:1e\x00\xff"),
        ("v2 binary push without join_ref", v2, True, b"\x00\x00\x01\x06\x012room:1e"),
        ("v1 push", v1, False, b'{"topic":"room:1","event":"e","payload":{"a":1},"ref":"3"}'),
        ("msgpack push", packed, True, pack(["1", "2", "room:1", "e", {"a": 1}])),
        ("msgpack binary payload", packed, True, pack(["1", "2", "room:1", "e", b"\x00\xff"])),
    ]
    for name, serializer, binary, data in to_gateway:
        message = serializer.decode(data, binary)
        yield {
            "id": name,
            "direction": "to_gateway",
            "serializer": serializer.name,
            "binary": binary,
            "hex": data.hex(),
            "message": [message.join_ref, message.ref, message.topic, message.event],
            "payload": payload(message.codec, message.data),
        }
    broken = [
        ("v2 cut off", v2, False, b'["1","1","room:1","phx_join",{}'),
        ("v2 four elements", v2, False, b'["1","1","room:1","e"]'),
        ("v2 an object", v2, False, b'{"topic":"room:1"}'),
        ("v2 not UTF-8", v2, False, b'["1","1","room:\xff","e",{}]'),
        ("v2 binary that is no push", v2, True, b"\x01\x01\x01\x01"),
        ("v2 binary cut off", v2, True, b"\x00\x01\x01\x06\x01r"),
        ("v1 an array", v1, False, b'["1","1","room:1","e",{}]'),
        ("msgpack a map", packed, True, pack({"topic": "room:1"})),
        ("msgpack cut off", packed, True, pack(["1", "2", "room:1", "e", {"a": 1}])[:-1]),
    ]
    for name, serializer, binary, data in broken:
        yield {
            "id": name,
            "comment": "the connection is closed with 1011",
            "direction": "to_gateway",
            "serializer": serializer.name,
            "binary": binary,
            "hex": data.hex(),
            "error": 1011,
        }
    object_, bytes_ = b'{"a":1}', b"\x00\xff"
    for serializer in (v1, v2, packed):
        for name, kind, arguments in (
            ("reply", "encode_reply", ("1", "2", "room:1", "ok", JSON, object_)),
            ("error reply", "encode_reply", ("1", "2", "room:1", "error", JSON, b'{"reason":"no"}')),
            ("push", "encode_push", ("1", "room:1", "e", JSON, object_)),
            ("broadcast", "encode_broadcast", ("room:1", "e", JSON, object_)),
            ("end", "encode_end", ("1", "room:1", "phx_close", b"{}")),
            ("binary reply", "encode_reply", ("1", "2", "room:1", "ok", BINARY, bytes_)),
            ("binary push", "encode_push", ("1", "room:1", "e", BINARY, bytes_)),
            ("binary broadcast", "encode_broadcast", ("room:1", "e", BINARY, bytes_)),
        ):
            if serializer is v1 and BINARY in arguments:
                continue  # V1 has no binary frames from the server
            frame = getattr(serializer, kind)(*arguments)
            yield {
                "id": f"{serializer.name} {name}",
                "direction": "to_client",
                "serializer": serializer.name,
                "encodes_from": [kind, *readable(arguments)],
                "binary": frame.binary,
                "hex": frame.data.hex(),
            }


def payload(codec: int, data: bytes) -> Any:
    """Return a message's payload for JSON."""
    if codec == BINARY:
        return {"hex": data.hex()}
    return readable(msgspec.json.decode(data) if codec == JSON else msgspec.msgpack.decode(data))


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
    ]
    for name, topic, header, data in made:
        yield {
            "id": name,
            "frames": [topics.exact(topic).hex(), frames.encode_header(header).hex(), data.hex()],
            "topic": topic,
            "header": readable(msgspec.to_builtins(header)),
            "payload": readable(msgspec.msgpack.decode(data)) if header.kind not in (1, 3, 7) else None,
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
        ("empty", b""),
    ):
        yield {
            "id": f"dropped: {name}",
            "frames": [topics.exact("room:1").hex(), header.hex(), ""],
            "error": "dropped and counted",
        }


def link() -> Iterator[Vector]:
    """Return every command, batches of several commands, and batches that end a link."""
    meta = {"phx_ref": "a", "status": "here"}
    state = pack([{"count": 3}, ["news:1"], [["presence", "room:1", "u7", meta]], {"n": 41}])
    to_worker: list[commands.ToWorker] = [
        commands.Hello(1, "g", 1),
        commands.Hello(3, "g", 2),
        commands.Join(
            1, "/socket", "room:1", "1", "user:7", "websocket", "v2_json", pack({"u": 7}), JSON, b"{}"
        ),
        commands.Join(
            2, "/socket", "room:1", None, None, "zeromq", "v2_msgpack", pack({}), MSGPACK, pack({})
        ),
        commands.Push(1, "2", "e", JSON, b"{}"),
        commands.Push(1, None, "e", BINARY, b"\x00\xff"),
        commands.Leave(1, "3"),
        commands.Replace(1),
        commands.SocketDown([1, 2], "closed"),
        commands.Handover(1),
        commands.Join(
            1,
            "/socket",
            "room:1",
            "1",
            "user:7",
            "websocket",
            "v2_json",
            pack({"u": 7}),
            MSGPACK,
            state,
            True,
        ),
        commands.TopicPaused("room:1"),
        commands.TopicResumed("room:1"),
    ]
    to_gateway: list[commands.ToGateway] = [
        commands.Welcome(1, "w"),
        commands.Joined(1, ("intercepted",), 41, JSON, b"{}"),
        commands.Refused(1, JSON, b'{"reason":"no"}'),
        commands.Reply(1, 42, "2", "ok", JSON, b"{}"),
        commands.Pushed(1, 0, "e", BINARY, b"\x00"),
        commands.Closed(1, 42),
        commands.Crashed(1, 0),
        commands.Ping(),
        commands.Broadcast("room:1", 42, "presence_diff", JSON, b"{}"),
        commands.Incompatible(2, 3),
        commands.Moving(1),
        commands.Moved(1, 42, pack({"u": 7}), state),
        commands.PushesPaused(1),
        commands.PushesResumed(1),
    ]
    batches: list[tuple[str, str, Any]] = [
        *(("to_worker", type(each).__name__, [each]) for each in to_worker),
        *(("to_gateway", type(each).__name__, [each]) for each in to_gateway),
        ("to_worker", "a batch of several", to_worker[2:6]),
        ("to_gateway", "a batch of several", to_gateway[3:6]),
        ("to_gateway", "an empty batch", []),
    ]
    for number, (direction, name, batch) in enumerate(batches, 1):
        data = commands.encode_batch(batch)
        yield {
            "id": f"{number}: {name}",
            "direction": direction,
            "hex": data.hex(),
            "commands": readable(msgspec.msgpack.decode(data)),
        }
    longer = [[1, 1, "w", "an element of a later version"]]
    yield {
        "id": "elements beyond those known are ignored",
        "direction": "to_gateway",
        "hex": pack(longer).hex(),
        "commands": [[1, 1, "w"]],
        "comment": "decodes only",
    }
    for name, direction, data in (
        ("not a batch", "to_worker", pack(1)),
        ("an unknown command", "to_worker", pack([[99, 1]])),
        ("a command of the other direction", "to_worker", pack([[9, 1, 0, "2", "ok", 0, b"{}"]])),
        ("too short", "to_gateway", pack([[9, 1]])),
        ("cut off", "to_gateway", pack([[11, 1, 0]])[:-1]),
        ("text for a number", "to_gateway", pack([[11, "1", 0]])),
    ):
        yield {
            "id": f"malformed: {name}",
            "direction": direction,
            "hex": data.hex(),
            "error": "a command that names a channel ends that channel, anything else ends the link",
        }


def placements() -> Iterator[Vector]:
    """Return the worker that each topic is placed on, among several workers."""
    workers = [f"worker-{number:016x}" for number in (1, 2, 3, 0xFFFF)]
    for key in ("room:1", "room:2", "room:lobby", "räume:1", "", "x" * 300):
        for among in (workers[:1], workers[:2], workers):
            yield {
                "id": f"{key[:20]} among {len(among)}",
                "key": key,
                "workers": among,
                "chosen": placement.choose(key, among),
            }


def main() -> None:
    """Write every file."""
    for name, make in (("client", client), ("bus", bus), ("link", link), ("placement", placements)):
        vectors = list(make())
        text = ",\n".join(json.dumps(each, ensure_ascii=False) for each in vectors)
        (DIRECTORY / f"{name}.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
