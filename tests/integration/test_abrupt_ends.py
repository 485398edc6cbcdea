"""A connection is reset while more has come than the process reads: libzmq would abort it with its heartbeats."""

import socket
import struct
import subprocess
import sys

from tests.support.until import PATIENCE

READ_LATER = """
import sys, time, zmq
from mesh.settings import ZeroMQSettings
from mesh.zeromq import sockets

kind, port = sys.argv[1:]
context = zmq.Context()
if kind == "client":
    ours = sockets.client_dealer(context, 1_000_000, None)
    sockets.connect_client(ours, f"tcp://127.0.0.1:{port}")
else:
    ours = sockets.client_router(context, ZeroMQSettings(), 1_000_000)
    print(sockets.bind(ours, "tcp://127.0.0.1:*", "").rpartition(":")[2], flush=True)
sys.stdin.readline()  # until the connection has been reset
time.sleep(5.5)  # longer than ZeroMQ's heartbeats were apart
received = 0
while ours.poll(500):
    ours.recv_multipart()
    received += 1
print(received, flush=True)
"""


def command(name, body):
    content = bytes([len(name)]) + name + body
    return bytes([4, len(content)]) + content


def flood_and_reset(connection, kind):
    """Be a ZeroMQ peer that says more than the other reads, and is gone with a TCP reset."""
    with connection:
        connection.sendall(b"\xff" + bytes(7) + b"\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + bytes(32))
        connection.sendall(command(b"READY", b"\x0bSocket-Type" + struct.pack(">I", len(kind)) + kind))
        greeted = b""
        while b"Socket-Type" not in greeted:
            greeted += connection.recv(1000)
        connection.settimeout(0.5)
        try:
            while True:
                connection.sendall(b"\0\x01x" * 1000)
        except TimeoutError:
            pass  # all queues between the two are full
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def start(kind, port):
    arguments = [sys.executable, "-c", READ_LATER, kind, str(port)]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_client_and_a_gateway_that_are_busy_outlive_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        client, gateway = start("client", server.getsockname()[1]), start("gateway", 0)
        flood_and_reset(server.accept()[0], b"ROUTER")
        port = int(gateway.stdout.readline())
        flood_and_reset(socket.create_connection(("127.0.0.1", port)), b"DEALER")
        for process in (client, gateway):
            process.stdin.write("\n")
            process.stdin.flush()
        for process in (client, gateway):
            received, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0
            assert int(received) >= 1_000
