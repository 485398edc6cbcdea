"""The server that all tests of the client share, and its addresses."""

import pytest

from tests.support.processes import ORDER, serve


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    env = {"MESH_ZEROMQ__BIND": f"ipc://{directory}/clients", **ORDER}
    with serve(directory, "examples.conformance:endpoint", env=env) as (_, url):
        yield {
            "http": url,
            "websocket": url.replace("http", "ws") + "/socket",
            "zeromq": env["MESH_ZEROMQ__BIND"],
        }


@pytest.fixture(params=["websocket", "zeromq"])
def address(server, request):
    return server[request.param]


@pytest.fixture(params=["json", "msgpack"])
def encoding(request):
    return request.param
