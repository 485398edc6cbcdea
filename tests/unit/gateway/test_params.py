"""gateway/http/params.py: query strings as Plug decodes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.params import decode_query
from mesh.errors import RemoteProtocolError


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("", {}),
        ("vsn=2.0.0&token=a%20b", {"vsn": "2.0.0", "token": "a b"}),
        ("a+b=c+d", {"a b": "c d"}),
        ("a", {"a": ""}),
        ("a=1&a=2", {"a": "2"}),
        ("a[b]=1&a[c][d]=2", {"a": {"b": "1", "c": {"d": "2"}}}),
        ("a%5Bb%5D=1", {"a": {"b": "1"}}),
        ("a[]=1&a[]=2", {"a": ["1", "2"]}),
        ("a[0]=x&a[1]=y", {"a": {"0": "x", "1": "y"}}),
        ("a[b", {"a[b": ""}),
        ("[a]=1", {"[a]": "1"}),
        ("a=1&a[b]=2", {"a": {"b": "2"}}),
        ("=1", {"": "1"}),
        ("a=b=c", {"a": "b=c"}),
    ],
)
def test_a_query_string_becomes_nested_parameters(query, params):
    assert decode_query(query) == params


@pytest.mark.parametrize("query", ["a=%ff", "%ff=a", "&".join(["a=1"] * 1001), "a" + "[b]" * 40 + "=1"])
def test_a_query_that_cannot_be_read_says_why(query):
    with pytest.raises(RemoteProtocolError):
        decode_query(query)


@given(st.text(max_size=60))
def test_any_text_is_parameters_or_an_error(query):
    try:
        assert isinstance(decode_query(query), dict)
    except RemoteProtocolError:
        pass
