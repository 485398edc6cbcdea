"""mesh/zeromq/randomness.py: routing ids that nobody can tell in advance."""

import subprocess
import sys

import zmq

from mesh import settings
from mesh.zeromq import sockets
from mesh.zeromq.curve import new_context
from mesh.zeromq.randomness import routing_id

UNSEEDED = "006b8b4567"
"""What libzmq gives the first peer of the first ROUTER of a process whose C library nobody has seeded."""
FIRST = """
import os, zmq
{make}
router = context.socket(zmq.ROUTER)
router.bind("inproc://router")
dealer = context.socket(zmq.DEALER)
dealer.connect("inproc://router")
dealer.send(b"")
print(router.recv_multipart()[0].hex(), flush=True)
os._exit(0)
"""
OURS = """
from mesh import settings
from mesh.zeromq.curve import new_context
context = new_context(settings.load().security)
"""


def first_generated(make):
    done = subprocess.run(
        [sys.executable, "-c", FIRST.format(make=make)],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return done.stdout.strip()


def test_libzmq_numbers_peers_from_the_rand_of_this_process():
    assert first_generated("context = zmq.Context()") == UNSEEDED
    seeded = "import ctypes; ctypes.CDLL(None).srand(7); context = zmq.Context()"
    assert first_generated(seeded) == first_generated(seeded) != UNSEEDED


def test_no_two_processes_of_ours_give_the_same_routing_ids():
    one, two = first_generated(OURS), first_generated(OURS)
    assert len({one, two, UNSEEDED}) == 3


def test_a_python_client_seeds_as_well():
    make = """
import asyncio
from mesh.client.zeromq import ZeroMQConnector
async def context():
    connector = ZeroMQConnector("ipc:///nowhere", "/socket", None, 0.01, 1000)
    try:
        await connector.connect({})
    except Exception:
        return connector._context
context = asyncio.run(context())
"""
    assert UNSEEDED not in {first_generated(make), first_generated(make)}


def test_our_own_peers_bring_an_id_that_nobody_can_guess():
    loaded = settings.load()
    context = new_context(loaded.security)
    with context.socket(zmq.ROUTER) as router:
        router.bind("inproc://router")
        dealers = [sockets.link_dealer(context, loaded.link), sockets.client_dealer(context, 1000, None)]
        for dealer in dealers:
            dealer.connect("inproc://router")
            dealer.send(b"")
        ids = {router.recv_multipart()[0] for _ in dealers}
        assert len(ids) == 2
        assert all(len(each) == len(routing_id()) >= 16 and each[0] for each in ids)
        for dealer in dealers:
            dealer.close(0)
    context.term()
