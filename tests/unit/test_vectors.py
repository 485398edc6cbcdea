"""tests/vectors: the code reads and writes what the files say."""

import json
from pathlib import Path

import msgspec
import pytest

from mesh.app import topics
from mesh.bus import frames
from mesh.bus.discovery import placement
from mesh.errors import DecodeError, WireError
from mesh.link import commands
from mesh.protocol import positions
from mesh.protocol.messages import BINARY, JSON
from mesh.protocol.serializers.registry import BY_NAME

DIRECTORY = Path(__file__).parents[1] / "vectors"


def vectors(name, **properties):
    found = [
        each
        for each in json.loads((DIRECTORY / f"{name}.json").read_text())
        if all(each.get(key) == value for key, value in properties.items())
    ]
    assert found
    return pytest.mark.parametrize("vector", found, ids=lambda each: each["id"])


def real(value):
    """As in the README: {"hex": …} is bytes."""
    if isinstance(value, dict):
        return (
            bytes.fromhex(value["hex"])
            if value.keys() == {"hex"}
            else {k: real(v) for k, v in value.items()}
        )
    return [real(each) for each in value] if isinstance(value, list) else value


@vectors("client", direction="to_gateway")
def test_what_a_client_sends(vector):
    serializer, data = BY_NAME[vector["serializer"]], bytes.fromhex(vector["hex"])
    if "error" in vector:
        with pytest.raises(DecodeError):
            serializer.decode(data, vector["binary"])
        return
    message = serializer.decode(data, vector["binary"])
    assert [message.join_ref, message.ref, message.topic, message.event] == vector["message"]
    decode = {JSON: msgspec.json.decode, BINARY: bytes}.get(message.codec, msgspec.msgpack.decode)
    assert decode(message.data) == real(vector["payload"])


@vectors("client", direction="to_client")
def test_what_a_client_gets(vector):
    kind, *arguments = real(vector["encodes_from"])
    frame = getattr(BY_NAME[vector["serializer"]], kind)(*arguments)
    assert (frame.binary, frame.data.hex()) == (vector["binary"], vector["hex"])


@vectors("client", direction="to_positioned_client")
def test_what_a_client_with_positions_gets(vector):
    serializer, broadcast = BY_NAME[vector["serializer"]], real(vector["broadcast"])
    frames = positions.encode_broadcast(serializer, *broadcast, *vector["position"])
    assert [{"binary": each.binary, "hex": each.data.hex()} for each in frames] == vector["messages"]


@vectors("bus")
def test_the_bus(vector):
    first, second, third = map(bytes.fromhex, vector["frames"])
    if "error" in vector:
        with pytest.raises(WireError):
            frames.decode_header(second)
        return
    assert topics.of_frame(first) == vector["topic"]
    assert topics.exact(vector["topic"]) == first
    header = frames.decode_header(second)
    wanted = vector["header"]
    assert json.loads(json.dumps(msgspec.to_builtins(header)))[: len(wanted)] == wanted
    first_sent = msgspec.structs.replace(header, age=None)
    if header.kind != frames.RECORDED:
        first_sent = frames.Header(*[getattr(header, name) for name in frames.Header.__struct_fields__])
    again = frames.encode_header(first_sent)
    assert (frames.encode_resent(again, header.age) if header.age is not None else again) == second
    if vector["payload"] is not None:
        assert msgspec.msgpack.decode(third) == real(vector["payload"])


@vectors("link")
def test_the_link(vector):
    decode = getattr(commands, f"decode_{vector['direction']}")
    data = bytes.fromhex(vector["hex"])
    if "error" in vector:
        with pytest.raises(commands.UNREADABLE):
            decode(data)
        return
    said = msgspec.msgpack.decode(commands.encode_batch(decode(data)))
    assert said == real(vector["commands"])
    if vector.get("comment") != "decodes only":
        assert commands.encode_batch(decode(data)) == data


@vectors("placement")
def test_placement(vector):
    assert placement.choose(vector["key"], vector["workers"]) == vector["chosen"]
    assert placement.choose(vector["key"], vector["workers"][::-1]) == vector["chosen"]
