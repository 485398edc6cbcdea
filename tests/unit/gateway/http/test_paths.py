"""gateway/http/paths.py: paths as Plug reads them."""

import pytest

from mesh.gateway.http.paths import normalize, relative_file, unescape


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("//", "/"),
        ("//a//b/", "/a/b"),
        ("/%61%2d%2F%25", "/a-%2F%25"),
        ("/a%2561", "/a%2561"),
        ("/\xc3\xa9", "/%C3%A9"),
        ("/%c3%a9", "/%C3%A9"),
        ("/..", "/.."),
    ],
)
def test_a_path_has_one_normal_form(path, expected):
    assert normalize(path) == expected
    assert normalize(expected) == expected


def test_escapes_are_decoded_once():
    assert unescape("a%2561%C3%A9") == "a%61é".encode()


@pytest.mark.parametrize(
    "path", ["%00", ".a", "a/.b", "..", "a%2Fb", "a%5Cb", "%FF", "a" * 256, ".well-known"]
)
def test_names_that_are_never_served(path):
    assert relative_file(path, well_known=False) is None


def test_well_known_may_come_first():
    assert relative_file(".well-known/a", well_known=True) == ".well-known/a"
    assert relative_file("a/.well-known", well_known=True) is None
    assert relative_file(".well-known/.a", well_known=True) is None
