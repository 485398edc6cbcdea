"""mesh/app/mount.py: which requests reach which mount."""

import re

import pytest

from mesh.app.mount import path_pattern


@pytest.mark.parametrize(
    ("path", "request_path", "params"),
    [
        ("/socket", "/socket/websocket", {}),
        ("/:tenant/socket", "/acme/socket/websocket", {"tenant": "acme"}),
        ("/a/:b/c/:d", "/a/1/c/2/websocket", {"b": "1", "d": "2"}),
        ("/:_shard/:tenant", "/7/acme/websocket", {"tenant": "acme"}),
        ("/a.b", "/a.b/websocket", {}),
    ],
)
def test_path_variables_are_named_unless_they_start_with_an_underscore(path, request_path, params):
    match = re.fullmatch(path_pattern(path) + "/websocket", request_path)
    assert match.groupdict() == params


@pytest.mark.parametrize(
    ("path", "request_path"),
    [
        ("/a.b", "/axb/websocket"),
        ("/:a", "//websocket"),
        ("/:a", "/x/y/websocket"),
        ("/:_a", "//websocket"),
    ],
)
def test_a_path_matches_whole_segments_only(path, request_path):
    assert not re.fullmatch(path_pattern(path) + "/websocket", request_path)
