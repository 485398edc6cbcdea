"""`from mesh import …`: what applications may rely on, and that it opens nothing."""

import subprocess
import sys

import mesh


def test_the_public_names_are_these():
    assert sorted(mesh.__all__) == [
        "Broadcast", "Channel", "ConnectInfo", "Endpoint", "MeshError", "Mount", "Presence", "RateLimit", "RemoteChannel",
        "Reply", "Route", "SessionCookie", "Socket", "SocketHandler", "SocketRef", "TIMEOUT", "connect", "error", "ok", "on",
        "refuse", "session_cookies", "tokens",
    ]  # fmt: skip
    assert all(hasattr(mesh, name) for name in mesh.__all__)


def test_importing_it_loads_neither_zmq_nor_tornado_nor_asyncio():
    code = "import sys, mesh; print([m for m in ('zmq', 'tornado', 'asyncio') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
