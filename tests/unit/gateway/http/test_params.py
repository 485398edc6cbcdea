"""gateway/http/params.py: query strings as Plug decodes them."""

import sys
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.client.websocket import url_of
from mesh.errors import RemoteProtocolError
from mesh.gateway.http.params import decode_header, decode_path_params, decode_query


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
        ("&&a=1&&", {"a": "1"}),
        ("=", {"": ""}),
        ("a[]", {"a": [""]}),
        ("x[][]=1&x[][]=2", {"x": [["1", "2"]]}),
        ("x[][][]=1", {"x": [[["1"]]]}),
        ("x[y][z][]=1&x[y][z][]=2", {"x": {"y": {"z": ["1", "2"]}}}),
        ("x[a][]=1&x[b]=2", {"x": {"a": ["1"], "b": "2"}}),
        # The maps of a list share one level: a list of several maps cannot be written.
        ("x[][a]=1&x[][b]=2", {"x": [{"a": "1", "b": "2"}]}),
        ("x[][a]=1&x[][a]=2", {"x": [{"a": "2"}]}),
        ("x[][a][]=1&x[][a][]=2", {"x": [{"a": ["1", "2"]}]}),
    ],
)
def test_a_query_string_becomes_nested_parameters(query, params):
    assert decode_query(query) == params


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("x[]=1&x[y]=2", {"x": {"y": "2"}}),
        ("x[y]=2&x[]=1", {"x": ["1"]}),
        ("x[]=1&x[y]=2&x[]=3", {"x": ["1", "3"]}),
        ("x=1&x[]=2", {"x": ["2"]}),
        ("x[]=2&x=1", {"x": "1"}),
        ("x[y]=1&x=2", {"x": "2"}),
        ("x[y]=1&x=2&x[z]=3", {"x": "2"}),  # as Plug: the level of x is not written into the root again
        ("x[y]=1&x[y][z]=2", {"x": {"y": {"z": "2"}}}),
        ("x[y][][w]=2&x[y]=1", {"x": {"y": "1"}}),
        ("x[y][0][w]=2&x[y]=1", {"x": {"y": "1"}}),
        ("x[][a]=1&x[]=2", {"x": [{"a": "1"}, "2"]}),
    ],
)
def test_names_that_contradict_each_other_are_decided_as_in_plug(query, params):
    assert decode_query(query) == params


@pytest.mark.parametrize(
    ("query", "params"),
    [
        ("x[", {"x[": "1"}),
        ("x]", {"x]": "1"}),
        ("]", {"]": "1"}),
        ("[]", {"[]": "1"}),
        ("[x]", {"[x]": "1"}),
        ("x[a]b", {"x[a]b": "1"}),
        ("x[a][", {"x[a][": "1"}),
        ("x[a]b]", {"x": {"a]b": "1"}}),
        ("x[a[b]", {"x": {"a[b": "1"}}),
        ("x[]]", {"x": {"]": "1"}}),
        ("x[[a]]", {"x": {"[a]": "1"}}),
        ("x][a]", {"x]": {"a": "1"}}),
        ("x[ ]", {"x": {" ": "1"}}),
    ],
)
def test_odd_brackets_are_read_as_in_plug(query, params):
    assert decode_query(f"{query}=1") == params


def test_no_key_of_our_own_is_ever_shown():
    mixed = "&".join(f"x[{key}]=1" for key in ["", "a", "", "b"] * 3)
    assert decode_query(f"{mixed}&x[a]=2") == {"x": {"a": "2", "b": "1"}}


def bytes_as_read(text):
    """A request's bytes as the HTTP parsers hand them over: one character each."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize("written", ["ü", "日本", "🙂", "a b", "%", "[&]=+"])
def test_text_beyond_ascii_is_the_same_escaped_or_not(written):
    escaped = quote(written, safe="")
    assert decode_query(f"user={escaped}&{escaped}=1") == {"user": written, written: "1"}
    if not set(written) & set("%[]&=+ "):
        assert decode_query(bytes_as_read(f"user={written}")) == {"user": written}


@pytest.mark.parametrize(
    "query",
    ["a=%", "%=a", "a=%4", "a=%zz", "a=%2x", "a=%%20", "a[%]=1", "a=\xfc", "a=\xc3", "\xff=1", "a=%c3%28", "a=%ed%a0%80", "a=\u20ac"],
)  # fmt: skip
def test_what_is_no_utf8_and_no_escape_is_refused(query):
    with pytest.raises(RemoteProtocolError, match="in the request target"):
        decode_query(query)


@pytest.mark.parametrize("query", ["token=SECRET%zz", "token=%ffSECRET", "SECRET%=1", "token=SECRET\xff"])
def test_what_is_refused_is_not_quoted(query):
    with pytest.raises(RemoteProtocolError) as refused:
        decode_query(query)
    assert "SECRET" not in str(refused.value)


def test_path_variables_are_read_by_the_same_rule():
    assert decode_path_params({"a": "x%20y+z", "b": bytes_as_read("ü")}) == {"a": "x y+z", "b": "ü"}
    for wrong in ("%", "%zz", "%ff", "\xff"):
        with pytest.raises(RemoteProtocolError):
            decode_path_params({"a": wrong})


def test_headers_are_utf8_or_latin1():
    assert decode_header(bytes_as_read("Zürich")) == "Zürich"
    assert decode_header("Zürich") == "Zürich"
    assert decode_header("plain") == "plain"


NESTED = st.recursive(
    st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.dictionaries(st.from_regex(r"[a-zü &=%+]{1,3}", fullmatch=True), inner, min_size=1, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(st.dictionaries(st.from_regex(r"[a-zü &=%+]{1,3}", fullmatch=True), NESTED, max_size=4))
def test_what_our_client_writes_is_read_as_it_was(params):
    assert decode_query(urlsplit(url_of("ws://host/socket", params)).query) == params


def calls_to_decode(count):
    query = "&".join(f"a{'[b]' * 30}[{number}]=1" for number in range(count))
    calls = 0

    def stats(_frame, event, _argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(stats)
    try:
        decode_query(query)
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_grows_with_the_number_of_parameters_only():
    assert calls_to_decode(1_000) < 11 * calls_to_decode(100)


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
