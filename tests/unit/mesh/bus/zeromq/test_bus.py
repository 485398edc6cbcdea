"""mesh/bus/zeromq/bus.py: proxies that names stand for, and that cannot be connected to."""

import asyncio
import errno

import pytest
import zmq

from mesh import settings
from mesh.bus.zeromq import connect_failures
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.errors import NodeError
from mesh.zeromq import sockets

NAME = "tcp://proxies.test:5550"
FIRST, SECOND = "tcp://127.0.0.1:10", "tcp://127.0.0.1:20"


class Log:
    def __init__(self):
        self.levels = []

    def __getattr__(self, level):
        return lambda line, **fields: self.levels.append(level)


@pytest.mark.parametrize("error", [zmq.ZMQError(errno.EMFILE), NodeError("no key")], ids=["zmq", "mesh"])
def test_addresses_that_cannot_be_connected_to_are_tried_again_and_an_error_once_each(monkeypatch, error):
    log, publishers = Log(), sockets.bus_publisher
    monkeypatch.setattr(connect_failures, "log", log)

    def fail(*_):
        raise error

    async def main():
        context = zmq.Context()
        bus = ZeroMQBus(context, "a", settings.load(flags={"bus": {"proxies": [NAME]}}).bus)
        try:
            bus._names._answers[NAME] = [FIRST, SECOND]
            monkeypatch.setattr(sockets, "bus_publisher", fail)
            for _ in range(3):
                bus._names_resolved()
            assert (bus.publisher.connections, bus.subscriber._proxies) == ([], {})
            assert log.levels == ["error"] * 2 + ["debug"] * 4
            monkeypatch.setattr(sockets, "bus_publisher", publishers)
            bus._names_resolved()
            assert [each.address for each in bus.publisher.connections] == [FIRST, SECOND]
            assert len(bus.subscriber._proxies) == 2
        finally:
            bus.close()
            context.term()

    asyncio.run(main())
