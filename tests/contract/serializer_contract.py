"""What every serializer must do; tests/unit/mesh/protocol/serializers/test_registry.py runs it on each.

A test gets `serializer`. CLIENTS speaks like phoenix.js: what it makes, the serializer must read.
"""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mesh.errors import DecodeError, EncodeError
from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON, MSGPACK, Message

CLIENTS = {
    "v1_json": '{{"topic":{topic},"event":{event},"payload":{payload},"ref":{ref},"join_ref":{join_ref}}}',
    "v2_json": "[{join_ref},{ref},{topic},{event},{payload}]",
}

TEXT = st.text(max_size=6)  # lone surrogates are left out: no UTF-8 has them
REFS = st.none() | TEXT | st.integers(-(2**63), 2**64 - 1) | st.booleans()
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
STYLES = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.none() | st.just(1),
        "separators": st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")]),
    }
)
DEEP = [[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]


def said(serializer, join_ref, ref, topic, event, payload):
    """What a client sends; `payload` is JSON already."""
    fields = {"join_ref": join_ref, "ref": ref, "topic": topic, "event": event}
    return (
        CLIENTS[serializer.name]
        .format(payload=payload, **{name: json.dumps(value) for name, value in fields.items()})
        .encode()
    )


def every_frame(serializer, codec, data):
    """What each `encode_*` that takes a codec makes of a payload, as functions."""
    return [
        lambda: serializer.encode_reply("1", "2", "room:1", "ok", codec, data),
        lambda: serializer.encode_push("1", "room:1", "e", codec, data),
        lambda: serializer.encode_broadcast("room:1", "e", codec, data),
    ]


class SerializerContract:
    """Subclass it, parametrized with `serializer`."""

    @given(REFS, REFS, VALUES, STYLES)
    def test_any_json_payload_keeps_its_very_bytes(self, serializer, join_ref, ref, payload, style):
        raw = json.dumps(payload, **style)
        message = serializer.decode(said(serializer, join_ref, ref, "room:1", "e", raw), False)
        assert message == Message(join_ref, ref, "room:1", "e", JSON, raw.encode())

    @given(VALUES, VALUES, VALUES, VALUES)
    @example(10**30, 10**30, 10**30, 10**30)
    @example(None, [{"a": -(10**30)}], "room:1", "e")
    @example(None, DEEP, "room:1", "e")
    @example("1", "2", "room:1", DEEP)
    def test_what_stands_beside_the_payload_fits_a_link_and_a_reply_or_is_refused(
        self, serializer, join_ref, ref, topic, event
    ):
        try:
            message = serializer.decode(said(serializer, join_ref, ref, topic, event, "{}"), False)
        except DecodeError:
            return
        push = commands.Push(1, message.ref, message.event, message.codec, message.data)
        assert commands.decode_to_worker(commands.encode_batch([push])) == [push]
        commands.encode_batch([message.join_ref])
        json.loads(
            serializer.encode_reply(message.join_ref, message.ref, message.topic, "ok", JSON, b"1").data
        )

    @pytest.mark.parametrize("ref", [2**64, -(2**63) - 1, [[2**64]], {"a": 2**64}, DEEP])
    def test_a_ref_or_event_that_would_not_travel_is_a_decode_error(self, serializer, ref):
        for fields in ((ref, "1", "t", "e"), ("1", ref, "t", "e"), ("1", "1", "t", ref)):
            with pytest.raises(DecodeError, match="besides the payload"):
                serializer.decode(said(serializer, *fields, "{}"), False)

    @pytest.mark.parametrize("ref", [0, 2**64 - 1, -(2**63), 1.5, True, DEEP[0], {"a": [1]}])
    def test_an_unusual_ref_is_echoed_untouched(self, serializer, ref):
        message = serializer.decode(said(serializer, None, ref, "t", "e", "{}"), False)
        reply = json.loads(serializer.encode_reply(None, message.ref, "t", "ok", JSON, b"{}").data)
        assert (reply["ref"] if isinstance(reply, dict) else reply[1]) == ref

    @given(st.binary(max_size=60), st.booleans())
    def test_bytes_at_random_are_a_decode_error_and_nothing_else(self, serializer, data, binary):
        try:
            serializer.decode(data, binary)
        except DecodeError:
            pass

    @given(VALUES.map(json.dumps) | st.text(alphabet='[]{}",:\\u0019e-. \n', max_size=30))
    def test_what_only_looks_like_a_message_is_a_decode_error_and_nothing_else(self, serializer, text):
        try:
            serializer.decode(text.encode(), False)
        except DecodeError:
            pass

    @given(st.integers(0, 100), st.binary(min_size=1, max_size=3))
    def test_a_message_with_broken_bytes_is_a_decode_error_and_nothing_else(self, serializer, at, bytes_):
        whole = said(serializer, "1", "2", "room:ü", "e", '{"a":[1,"ü"]}')
        try:
            serializer.decode(whole[:at] + bytes_ + whole[at + len(bytes_) :], False)
        except DecodeError:
            pass

    @pytest.mark.parametrize(
        "payload",
        [
            "",
            "{",
            "nope",
            "NaN",
            "1e999",
            "01",
            "'a'",
            '"\\ud800"',
            '{"a":1,}',
            "{} {}",
            "[" * 5000 + "]" * 5000,
        ],
    )
    def test_a_payload_that_is_not_json_ends_at_the_door(self, serializer, payload):
        with pytest.raises(DecodeError):
            serializer.decode(said(serializer, "1", "2", "room:1", "e", payload), False)

    @given(TEXT, TEXT, TEXT, VALUES)
    def test_what_goes_out_is_json_around_the_payloads_very_bytes(
        self, serializer, topic, event, status, payload
    ):
        data = json.dumps(payload, indent=1).encode()
        for frame in (
            serializer.encode_reply("1", 7, topic, status, JSON, data),
            serializer.encode_push("1", topic, event, JSON, data),
            serializer.encode_broadcast(topic, event, JSON, data),
            serializer.encode_end("1", topic, event, data),
        ):
            assert not frame.binary
            assert data in frame.data
            sent = json.loads(frame.data)
            assert topic in (sent.values() if isinstance(sent, dict) else sent)

    @given(TEXT, TEXT, TEXT, VALUES)
    def test_a_broadcast_carries_the_ref_it_is_given_and_otherwise_the_same(
        self, serializer, topic, event, ref, payload
    ):
        data = json.dumps(payload).encode()
        with_ref, without = (
            serializer.encode_broadcast(topic, event, JSON, data, *given) for given in ([ref], [])
        )
        sent, plain = json.loads(with_ref.data), json.loads(without.data)
        at = "ref" if isinstance(sent, dict) else 1
        assert (sent[at], plain[at]) == (ref, None)
        plain[at] = ref
        assert sent == plain
        assert not with_ref.binary

    def test_a_binary_broadcast_has_a_ref_only_as_promised(self, serializer):
        if serializer.carries_binary:
            with_ref, without = (
                serializer.encode_broadcast("t", "e", BINARY, b"\x00", *given) for given in (["r"], [])
            )
            assert (with_ref != without) == serializer.binary_broadcasts_have_ref

    def test_bytes_are_carried_as_promised(self, serializer):
        for encode in every_frame(serializer, BINARY, b"\x00\xff"):
            if serializer.carries_binary:
                frame = encode()
                assert frame.binary
                assert frame.data.endswith(b"\x00\xff")
            else:
                with pytest.raises(EncodeError):
                    encode()

    def test_a_field_beside_bytes_is_limited_as_promised(self, serializer):
        limit = serializer.max_binary_field_bytes
        if limit is not None:
            assert serializer.encode_push("1", "t" * limit, "e", BINARY, b"").binary
            with pytest.raises(EncodeError):
                serializer.encode_push("1", "t" * (limit + 1), "e", BINARY, b"")

    def test_a_codec_it_does_not_know_is_an_encode_error(self, serializer):
        for codec in (MSGPACK, 9):
            for encode in every_frame(serializer, codec, b"\x80"):
                with pytest.raises(EncodeError):
                    encode()
