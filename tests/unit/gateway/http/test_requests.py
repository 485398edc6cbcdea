"""gateway/http/requests.py: a request's bytes become messages, all of them or a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.http.requests import ACTIONS, ReadyMessage, RequestError

GOOD = {"topic": "room:1", "event": "e", "payload": {"a": [1, None, "ü"]}}


def read(action, body, max_messages=1_000):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ACTIONS[action](data, max_messages)


def test_good_requests_become_messages():
    ready = ReadyMessage("room:1", "e", 0, '{"a":[1,null,"ü"]}'.encode())
    assert read("broadcast", GOOD) == [ready]
    assert read("broadcast_batch", {"messages": [GOOD, GOOD]}) == [ready, ready]
    assert read("disconnect", {"socket_id": "users:1"}) == [ReadyMessage("users:1", "disconnect", 0, b"{}")]


@pytest.mark.parametrize(
    ("action", "body", "sentence"),
    [
        ("broadcast", b"", "the body is not JSON: "),
        ("broadcast", b"\xff", "the body is not JSON: "),
        ("broadcast", b'"\xff"', ""),
        ("broadcast", b"[" * 100_000, ""),
        ("broadcast", b'{"topic":"t","event":"e","payload":{"a":' + b"[" * 100_000, "nested too deeply"),
        ("broadcast", [], "Expected 'object', got 'array'"),
        ("broadcast", {}, "missing required field 'topic'"),
        ("broadcast", {"topic": "t", "event": "e"}, "missing required field 'payload'"),
        ("broadcast", {**GOOD, "topic": 7}, "Expected 'str', got 'int' - at 'topic'"),
        ("broadcast", {**GOOD, "payload": [1]}, "Expected 'object', got 'array' - at 'payload'"),
        ("broadcast", {**GOOD, "playload": {}}, "unknown field 'playload'"),
        ("broadcast", {**GOOD, "topic": ""}, "topic is empty"),
        ("broadcast", {**GOOD, "topic": "$nodes"}, "starts with '$'"),
        ("broadcast", {**GOOD, "topic": "a\x00b"}, "contains NUL"),
        ("broadcast_batch", GOOD, "unknown field 'topic'"),
        ("broadcast_batch", {"messages": []}, "messages is empty"),
        ("broadcast_batch", {"messages": {}}, "Expected 'array'"),
        ("broadcast_batch", {"messages": [GOOD, {**GOOD, "event": 1}]}, "messages[1]: Expected 'str'"),
        ("broadcast_batch", {"messages": [{**GOOD, "topic": "$a"}]}, "messages[0]: topic '$a'"),
        ("disconnect", {"socket_id": ""}, "socket_id is empty"),
        ("disconnect", {"socket_id": None}, "Expected 'str', got 'null'"),
        ("disconnect", {"id": "users:1"}, "unknown field 'id'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(action, body, sentence):
    with pytest.raises(RequestError) as caught:
        read(action, body)
    assert caught.value.status == 400
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_batch_has_a_limit():
    assert len(read("broadcast_batch", {"messages": [GOOD] * 3}, max_messages=3)) == 3
    with pytest.raises(RequestError, match="4 messages; at most 3") as caught:
        read("broadcast_batch", {"messages": [GOOD] * 4}, max_messages=3)
    assert caught.value.status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(
    st.sampled_from(sorted(ACTIONS)),
    st.binary(max_size=60) | JSON.map(lambda each: json.dumps(each).encode()),
)
def test_any_other_body_is_refused_with_a_sentence(action, body):
    with pytest.raises(RequestError) as caught:
        ACTIONS[action](body, 10)
    assert caught.value.status == 400


@given(JSON)
def test_any_payload_is_published_or_refused(value):
    body = json.dumps({"topic": "t", "event": "e", "payload": {"value": value}}).encode()
    try:
        (ready,) = ACTIONS["broadcast"](body, 1)
    except RequestError:
        return
    assert json.loads(ready.data).keys() == {"value"}


@pytest.mark.parametrize("name", ["topic", "event"])
def test_names_are_as_long_as_a_client_may_make_them(name):
    good = {"topic": "room:1", "event": "a", "payload": {}} | {name: "é" * 2_048}
    assert len(ACTIONS["broadcast"](json.dumps(good).encode(), 1)) == 1
    for too_long in ("x" * 4_097, "é" * 2_049, "x" * 1_000_000):
        with pytest.raises(RequestError) as caught:
            ACTIONS["broadcast"](json.dumps(good | {name: too_long}).encode(), 1)
        assert caught.value.status == 400
        assert "at most 4096" in str(caught.value)
        assert len(str(caught.value)) < 200
