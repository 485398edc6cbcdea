"""gateway/joins/worker_links.py: a worker to which no link can be made is tried more and more rarely."""

import asyncio
import errno

import pytest
import zmq

from mesh import settings
from mesh.bus.discovery.placement import Announcement
from mesh.errors import NodeError
from mesh.gateway.joins import worker_links as module
from mesh.gateway.joins.worker_links import WorkerLinks


class Announcer:
    pass


class Handler:
    on_command = on_behind = None


@pytest.mark.parametrize("error", [zmq.ZMQError(errno.EMFILE), NodeError("no key")], ids=["zmq", "mesh"])
def test_a_link_that_cannot_be_made_is_not_tried_at_each_announcement(monkeypatch, error):
    tries = []

    def dealer(*arguments):
        tries.append(arguments)
        raise error

    monkeypatch.setattr(module, "Dealer", dealer)

    async def main():
        made = WorkerLinks(Handler(), None, "g", Announcer(), settings.load().link, 60.0, 10)
        for _ in range(10):
            made.announced(Announcement(node="w", kind="worker", link="tcp://127.0.0.1:1"))
        assert len(tries) == 1
        assert made.links == 0

    asyncio.run(main())


@pytest.mark.parametrize("link", ["ipc://a\0b", "ipc://" + "x" * 5_000])
def test_a_link_that_can_be_no_path_is_not_tried(monkeypatch, link):
    monkeypatch.setattr(module, "Dealer", None)

    async def main():
        made = WorkerLinks(Handler(), None, "g", Announcer(), settings.load().link, 60.0, 10)
        made.announced(Announcement(node="w", kind="worker", link=link))
        assert not made.linked("w")

    asyncio.run(main())
