"""mesh/app/routes.py: the first declared route that matches wins; useless routes are errors at start."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.app.routes import Route, RouteTable
from mesh.errors import RouteError


def table(*patterns):
    return RouteTable([Route(pattern, pattern) for pattern in patterns], "UserSocket")


def found(routes, topic):
    route = routes.find(topic)
    return route and route.channel


def test_the_first_declared_route_wins():
    routes = table("room:lobby", "room:*", "*")
    assert found(routes, "room:lobby") == "room:lobby"
    assert found(routes, "room:") == "room:*"
    assert found(routes, "room:1:2") == "room:*"
    assert found(routes, "other") == "*"


def test_a_topic_without_route_matches_nothing():
    assert found(table("room:*", "system"), "system:1") is None
    assert found(table("room:*"), "room") is None
    assert found(table("room:*"), "ROOM:1") is None


@pytest.mark.parametrize(
    ("patterns", "word"),
    [
        (["room:*:x"], "only be last"),
        (["**"], "only be last"),
        ([""], "not a topic"),
        ([7], "not a topic"),
        (["$x"], "reserved"),
        (["a\x00"], "NUL"),
        (["room:*", "room:*"], "twice"),
        (["room:*", "room:lobby"], "can never match"),
        (["*", "room:*"], "can never match"),
        (["room:*", "room:a:*"], "declare 'room:a:\\*' first"),
    ],
)
def test_a_route_that_cannot_be_used_is_an_error_that_names_it(patterns, word):
    with pytest.raises(RouteError, match=word) as caught:
        table(*patterns)
    assert "UserSocket" in str(caught.value)


TOPICS = st.text(alphabet="ab:", max_size=4)


@given(st.lists(TOPICS.map(lambda text: text + "*") | TOPICS, max_size=5), TOPICS)
def test_every_accepted_table_reaches_each_of_its_routes(patterns, topic):
    try:
        routes = table(*patterns)
    except RouteError:
        return
    for pattern in patterns:
        assert found(routes, pattern.rstrip("*") or "zzz") is not None
    expected = next(
        (p for p in patterns if (topic.startswith(p[:-1]) if p[-1:] == "*" else topic == p)), None
    )
    assert found(routes, topic) == expected
