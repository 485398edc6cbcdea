"""The chat example, tested as its users would test theirs."""

import pytest

from examples.chat import MAX_BODY, MAX_NAME, RoomChannel, endpoint
from mesh.testing import ANY, ConnectRefused, Contains, JoinRefused


@pytest.fixture
def mesh_endpoint():
    return endpoint


@pytest.fixture
def people(channel_case):
    return [
        channel_case.connect({"user": name, "tab": f"tab of {name}"}).join("room:lobby")
        for name in ("Ana", "Bo")
    ]


@pytest.mark.parametrize("user", [None, "", "   ", "x" * (MAX_NAME + 1), {"a": "b"}])
def test_who_has_no_usable_name_is_refused(channel_case, user):
    with pytest.raises(ConnectRefused):
        channel_case.connect({"user": user})


@pytest.mark.parametrize("room", ["", "x" * 61])
def test_a_rooms_name_has_bounds(channel_case, room):
    with pytest.raises(JoinRefused, match=f"not {len(room)}"):
        channel_case.connect({"user": "Ana"}).join(f"room:{room}")


def test_who_joins_learns_who_is_there_and_the_others_learn_of_it(people):
    ana, bo = people
    assert list(ana.assert_push("presence_state")) == ["Ana"]
    ana.assert_push("presence_diff", {"joins": {"Bo": ANY}, "leaves": {}})
    assert sorted(bo.assert_push("presence_state")) == ["Ana", "Bo"]
    bo.close()
    ana.assert_push("presence_diff", {"joins": {}, "leaves": {"Bo": ANY}})


def test_a_message_goes_to_everybody_and_typing_to_the_others(people):
    ana, bo = people
    ana.assert_reply(ana.push("new_msg", {"body": "  hello "}), "ok", {})
    for each in people:
        each.assert_push("new_msg", {"user": "Ana", "tab": "tab of Ana", "body": "hello", "at": ANY})
    ana.push("typing")
    bo.assert_push("typing", {"user": "Ana", "tab": "tab of Ana"})
    ana.refute_push("typing")


@pytest.mark.parametrize("payload", [{}, {"body": 7}, {"body": " "}, {"body": "x" * (MAX_BODY + 1)}, [1]])
def test_what_is_no_message_is_refused_with_the_limit(people, payload):
    reply = people[0].assert_reply(people[0].push("new_msg", payload), "error")
    assert f"1 to {MAX_BODY} characters" in reply["reason"]
    people[1].refute_push("new_msg")


def test_who_comes_later_gets_the_last_messages_but_no_typing(channel_case, people):
    ana, _ = people
    for number in range(3):
        ana.push("new_msg", {"body": f"message {number}"})
        ana.push("typing")
    cy = channel_case.connect({"user": "Cy"}).join("room:lobby", {"history": {"last": 2}})
    cy.assert_push("history_state", Contains(recovered=True, count=2))
    bodies = [cy.assert_push("new_msg", offset=ANY)["body"] for _ in range(2)]
    assert bodies == ["message 1", "message 2"]
    cy.refute_push("typing")


def test_a_room_keeps_its_last_messages_for_a_day(channel_case, people):
    for number in range(201):
        people[0].push("new_msg", {"body": f"message {number}"})
    kept = channel_case.run(endpoint.history("room:lobby", limit=1000))
    assert [each.payload["body"] for each in kept] == [f"message {number}" for number in range(1, 201)]
    assert RoomChannel.history.seconds == 24 * 3600
