"""The static directory: what is served, and what is not."""

import pytest

from tests.support.raw_http import ask
from tests.support.websocket import run


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"home"),
        ("/app.js", b"script"),
        ("/assets/app.js", b"script"),
        ("/assets/", b"home"),
        ("/sub/", b"sub"),
        ("/two%20words.txt", b"words"),
        ("/%C3%A9.txt", b"accent"),
        ("/\xc3\xa9.txt", b"accent"),
        ("/.well-known/security.txt", b"contact"),
        ("/%2Ewell-known/security.txt", b"contact"),
    ],
)
def test_a_file_is_served(url, path, body):
    assert run(ask(url, path))[::2] == (200, body)


def test_a_directory_is_redirected_to_its_index(url):
    for path in ("/sub", "//sub", "//assets//sub", "/s%75b"):
        answer = run(ask(url, path))
        wanted = "/assets/sub/" if "assets" in path else "/sub/"
        assert (answer.status, answer.headers["location"]) == (301, wanted), path
        assert run(ask(url, path + "/")).body == b"sub"


@pytest.mark.parametrize(
    "path",
    [
        "/%00",
        "/app.js%00",
        "/%00/app.js",
        "/assets/%00",
        "/.env",
        "/%2Eenv",
        "/%2eenv/",
        "/.git/config",
        "/sub/.hidden",
        "/assets/.env",
        "/assets/.well-known/security.txt",
        "/.well-known/.env",
        "/..",
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2f..%2fetc%2fpasswd",
        "/sub/..%2f.env",
        "/sub%2findex.html",
        "/..%5c..%5cetc",
        "/sub\\index.html",
        "/%ff%fe",
        "/%C0%AE%C0%AE/etc",
        "/" + "a" * 256,
        "/" + "a/" * 1_500,
        "/" + "%C3%A9" * 128,
        "/link.txt",
        "/linked/secret.txt",
        "/linked/",
        "/linked",
        "/loop",
        "/pipe",
        "/app.js/x",
        "/nowhere",
    ],
)
def test_hidden_and_outside_paths_are_404(url, path):
    for method in ("GET", "HEAD"):
        answer = run(ask(url, path, method))
        assert answer.status == 404
        assert b"secret" not in answer.body
