"""The vectors of the client protocol."""

from collections.abc import Iterator
from typing import Any

import msgspec

from mesh.protocol import positions
from mesh.protocol.messages import BINARY, JSON
from mesh.protocol.serializers.base import Serializer
from mesh.protocol.serializers.registry import BY_NAME
from vectors.values import EPOCH, Vector, pack, readable

REF = positions.ref(EPOCH, 42)
STATE = positions.encode_state(EPOCH, 42, True, 1)


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
            ("recorded broadcast", "encode_broadcast", ("room:1", "e", JSON, object_, REF)),
            ("history_state", "encode_push", ("1", "room:1", positions.HISTORY_STATE, JSON, STATE)),
            (
                "history_position of a sender",
                "encode_broadcast",
                ("room:1", positions.HISTORY_POSITION, JSON, b'{"epoch":"k3v9a0b1c2d3","offset":42}'),
            ),
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
        if serializer is not v1:
            yield recorded_bytes(serializer)


def recorded_bytes(serializer: Serializer) -> Vector:
    """Return a recorded broadcast with a binary payload, with its position in or before it."""
    frames = positions.encode_broadcast(serializer, "room:1", "e", BINARY, b"\x00\xff", EPOCH, 42)
    return {
        "id": f"{serializer.name} recorded binary broadcast",
        "comment": "the messages to a client that has asked for positions, in this order",
        "direction": "to_positioned_client",
        "serializer": serializer.name,
        "position": [EPOCH, 42],
        "broadcast": ["room:1", "e", BINARY, {"hex": "00ff"}],
        "messages": [{"binary": each.binary, "hex": each.data.hex()} for each in frames],
    }


def payload(codec: int, data: bytes) -> Any:
    """Return a message's payload for JSON."""
    if codec == BINARY:
        return {"hex": data.hex()}
    return readable(msgspec.json.decode(data) if codec == JSON else msgspec.msgpack.decode(data))
