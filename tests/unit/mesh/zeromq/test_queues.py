"""How much ZeroMQ itself queues: mesh/zeromq/sockets.py over real sockets."""

import pytest
import zmq

from mesh.settings import BusSettings, LinkSettings
from mesh.zeromq import sockets


@pytest.fixture
def made():
    """What makes a socket of some role, and closes it in the end."""
    with zmq.Context() as context:
        opened = []

        def make(role, settings):
            opened.append(role(context, settings))
            return opened[-1]

        yield make
        for each in opened:
            each.close(0)


@pytest.mark.parametrize(("high_water_mark", "queue", "received"), [(10_000, 16, 256), (4, 4, 4)])
def test_a_link_has_short_queues(made, high_water_mark, queue, received):
    settings = LinkSettings(high_water_mark=high_water_mark)
    dealer, router = made(sockets.link_dealer, settings), made(sockets.link_router, settings)
    assert (dealer.getsockopt(zmq.SNDHWM), dealer.getsockopt(zmq.RCVHWM)) == (queue, queue)
    assert (router.getsockopt(zmq.SNDHWM), router.getsockopt(zmq.RCVHWM)) == (queue, received)


def sent(socket, data):
    try:
        socket.send(data, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def test_what_a_full_queue_to_a_proxy_does_not_take_is_refused_not_lost(made):
    few = BusSettings(high_water_mark=5)
    publisher, proxy = made(sockets.bus_publisher, few), made(sockets.proxy_frontend, few)
    proxy.bind("inproc://proxy")  # one queue for both ends: the sum of their bounds
    publisher.connect("inproc://proxy")
    for _ in range(3_000):
        proxy.poll(0)  # it learns of the connection when it is used
        if publisher.poll(10):
            break
    assert publisher.recv(zmq.NOBLOCK) == b"\x01", "the proxy's subscription"
    taken = 0
    while taken < 1_000 and sent(publisher, b"%d" % taken):
        taken += 1
    assert 5 <= taken <= 11
    for number in range(taken):
        assert proxy.poll(30_000)
        assert proxy.recv() == b"%d" % number
    assert not proxy.poll(0)
