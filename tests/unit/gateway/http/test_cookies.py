"""gateway/http/cookies.py: all cookies of one name, as they were sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.gateway.http.cookies import MAX_CANDIDATES, candidates


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([], []),
        (["session=1"], ["1"]),
        (["session=1; session=2"], ["1", "2"]),
        (["a=0; session=1;session=2 ;b=3"], ["1", "2"]),
        (["session=1", "b=2", "session=3"], ["1", "3"]),
        (["session=1; session=1; session=2"], ["1", "2"]),
        (["session=a=b=="], ["a=b=="]),
        (["session="], [""]),
        (["session"], []),
        (["=1; ;;=; session=2;"], ["2"]),
        (["sessions=1; xsession=2; Session=3; $session=4"], []),
        (['session="a b"'], ["a b"]),
        ([r'session="a\"b\054c\\d"'], ['a"b,c\\d']),
        (['session="'], ['"']),
        (['session=""'], [""]),
        (['session="1; session=2'], ['"1', "2"]),
        (["session=\xc3\xbc"], ["ü"]),
        (["session=\xfc"], ["\xfc"]),
        (["session=" + "x" * 9_000 + "; session=2"], ["x" * 9_000, "2"]),
        (["a,session=1, session=2"], []),
    ],
)
def test_the_values_in_their_order(headers, found):
    assert list(candidates(headers, "session")) == found


def test_of_many_only_the_first_are_tried():
    many = "; ".join(f"session={number}" for number in range(10_000))
    assert list(candidates([many], "session")) == [str(number) for number in range(MAX_CANDIDATES)]
    others = "; ".join(f"other{number}=1" for number in range(1_000))
    assert list(candidates([f"{others}; session=1"], "session")) == ["1"]


@given(st.lists(st.text(st.characters(max_codepoint=255), max_size=80), max_size=3))
def test_no_header_raises(headers):
    assert all(isinstance(each, str) for each in candidates(headers, "a"))
