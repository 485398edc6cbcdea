"""`from mesh import …`: the names that applications may use."""

import mesh


def test_the_public_names_are_these():
    assert sorted(mesh.__all__) == [
        "Broadcast", "Channel", "ConnectInfo", "Endpoint", "History", "KeptBroadcast", "MeshError", "Mount", "Presence", "RateLimit", "RemoteChannel",
        "Reply", "Route", "SessionCookie", "Socket", "SocketHandler", "SocketRef", "TIMEOUT", "connect", "error", "errors", "ok", "on",
        "refuse", "session_cookies", "telemetry", "tokens",
    ]  # fmt: skip
    assert all(hasattr(mesh, name) for name in mesh.__all__)
