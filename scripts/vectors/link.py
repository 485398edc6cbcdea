"""The vectors of the link."""

from collections.abc import Iterator
from typing import Any

import msgspec

from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON
from vectors.values import EPOCH, MSGPACK, Vector, pack, readable


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
        commands.Joined(1, (), 41, JSON, b"{}", True),
        commands.HistoryState(1, EPOCH, 42, True, 2),
        commands.HistoryState(1, "", 0, False, 0),
        commands.Missed(
            1,
            [
                commands.MissedBroadcast(41, "new_msg", JSON, b'{"a":1}'),
                commands.MissedBroadcast(42, "data", BINARY, b"\x00\xff"),
            ],
        ),
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
        ("an offset below 0", "to_gateway", pack([[23, 1, EPOCH, -1, True, 0]])),
        ("a missed broadcast that is too short", "to_gateway", pack([[24, 1, [[1, "e", 0]]]])),
    ):
        yield {
            "id": f"malformed: {name}",
            "direction": direction,
            "hex": data.hex(),
            "error": "a command that names a channel ends that channel, anything else ends the link",
        }
