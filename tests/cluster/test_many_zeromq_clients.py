"""One gateway carries thousands of ZeroMQ clients."""

import json
import resource

import zmq

from tests.support.http import broadcast
from tests.support.processes import serve

DESCRIPTORS = 3
"""Of one client: a socket's own, its connection's, and some."""
SOFT, HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
CLIENTS = 3_000 if HARD == resource.RLIM_INFINITY else min(3_000, (HARD - 500) // DESCRIPTORS)


def say(client, *message):
    client.send_multipart([b"T", json.dumps(message).encode()])


def heard(client):
    """The next message that is not the gateway's question whether we live."""
    while True:
        kind, data = client.recv_multipart()
        if kind != b"P":
            return json.loads(data)


def test_thousands_of_zeromq_clients_join_hear_and_leave(tmp_path):
    assert CLIENTS >= 1_000, "raise the limit of open files (ulimit -Hn)"
    wanted = DESCRIPTORS * CLIENTS + 500
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(SOFT, wanted), HARD))  # inherited by the server
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, CLIENTS + 10)
    env = {"MESH_ZEROMQ__BIND": f"ipc://{tmp_path}/zeromq"}
    try:
        with serve(tmp_path, "examples.conformance:endpoint", env=env) as (_, url):
            clients = []
            for _ in range(CLIENTS):
                client = context.socket(zmq.DEALER)
                client.linger, client.rcvtimeo = 0, 120_000
                client.connect(env["MESH_ZEROMQ__BIND"])
                client.send_multipart([b"O", b'{"path":"/socket","params":{"vsn":"2.0.0"}}'])
                clients.append(client)
            for client in clients:
                assert heard(client) == {"idle_timeout_seconds": 600.0}
                say(client, "1", "1", "room:many", "phx_join", {})
            for client in clients:
                assert heard(client)[4]["status"] == "ok"
            for number in range(3):
                broadcast(url, "room:many", "n", {"n": number})
            for client in clients:
                assert [heard(client)[4] for _ in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]
                say(client, "1", "2", "room:many", "phx_leave", {})
            for client in clients:
                assert heard(client)[4]["status"] == "ok"
                assert heard(client)[3] == "phx_close"
    finally:
        context.destroy(0)
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
