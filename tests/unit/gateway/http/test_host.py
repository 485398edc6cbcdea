"""gateway/http/host.py: which hosts are names or addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.http.host import Host, parse


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("a", Host("a", None, True)),
        ("a.example:80", Host("a.example", "80", True)),
        ("my_container-1.", Host("my_container-1.", None, True)),
        ("1.2.3.4:5", Host("1.2.3.4", "5", True)),
        ("[::1]", Host("[::1]", None, True)),
        ("[::ffff:1.2.3.4]:443", Host("[::ffff:1.2.3.4]", "443", True)),
        ("a:", Host("a", "", True)),
        ("", Host("", None, False)),
        ("%61", Host("%61", None, False)),
        ("a!b:1", Host("a!b", "1", False)),
    ],
)
def test_names_and_addresses(text, host):
    assert parse(text) == host


@pytest.mark.parametrize(
    "text",
    ["[::1", "::1", "[", "[]", "[:::]", "[1.2.3.4]", "a:b", "a b", "a,b", "a/b", "u@a", "\xff", "a:123456"],
)
def test_what_is_neither(text):
    assert parse(text) is None


@given(st.text(max_size=40))
def test_no_text_raises(text):
    parse(text)
