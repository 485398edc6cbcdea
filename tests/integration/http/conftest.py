"""The server that all tests of this directory share."""

import os

import pytest

from tests.integration.http.requests import APP, KEY
from tests.support.processes import serve


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A static directory with all that may and may not be served."""
    root = tmp_path_factory.mktemp("static")
    (root / "index.html").write_text("home")
    (root / "app.js").write_text("script")
    (root / "two words.txt").write_text("words")
    (root / "é.txt").write_text("accent")
    (root / "sub").mkdir()
    (root / "sub" / "index.html").write_text("sub")
    (root / "sub" / ".hidden").write_text("secret")
    (root / ".env").write_text("secret")
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("secret")
    (root / ".well-known").mkdir()
    (root / ".well-known" / "security.txt").write_text("contact")
    (root / ".well-known" / ".env").write_text("secret")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "linked").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    return root


@pytest.fixture(scope="session")
def server(tmp_path_factory, files):
    """(process, url)"""
    env = {
        "HTTP_APP_STATIC": str(files),
        "MESH_API__KEYS": KEY,
        "MESH_API__MAX_BODY_BYTES": "100000",
        "MESH_GATEWAY__MAX_HEAD_BYTES": "4000",
        "MESH_GATEWAY__MAX_BODY_BYTES": "300000",
        "MESH_GATEWAY__MAX_BODIES_BYTES": "1000000",
    }
    with serve(tmp_path_factory.mktemp("serve"), APP, env=env) as running:
        yield running
        assert "Traceback" not in running[0].log()


@pytest.fixture(scope="session")
def url(server):
    return server[1]
