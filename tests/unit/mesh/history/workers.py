"""Workers that record topics, on one bus in memory: each has a recorder, and a gateway's ear for its topics."""

import asyncio
import contextlib

from mesh import Channel, Endpoint, History, SocketHandler
from mesh.app import topics
from mesh.bus.calls import Calls, Responder
from mesh.bus.contract import Handlers
from mesh.bus.discovery.placement import Announcement, ranked
from mesh.bus.memory import MemoryBus, MemoryNetwork
from mesh.history.contract import Query
from mesh.history.memory_recorder import MemoryRecorder
from mesh.protocol.messages import JSON
from mesh.settings import HistorySettings
from tests.support.until import until

KEY = ("/socket", "room:*")


class Room(Channel):
    history = History(messages=1000, except_events=("typing",))


class UserSocket(SocketHandler):
    channels = {"room:*": Room}


def endpoint():
    return Endpoint({"/socket": UserSocket})


class Worker:
    """One worker's recorder; `announced` and `gone` are what the others hear of it.

    While it is `deaf`, it misses what others record.
    """

    def __init__(self, name, mesh):
        self.name = name
        self.mesh = mesh
        self.deaf = False
        self.bus = MemoryBus(name, mesh.network)
        self.calls = Calls(self.bus, None)
        settings = HistorySettings(wait_seconds=2.0)
        self.recorder = MemoryRecorder(self.bus, self.calls, mesh.kept, settings, mesh.settle_seconds)
        self.responder = Responder(self.bus, self.recorder.answer_to)
        self.announcement = Announcement(node=name, kind="worker", history=(KEY,), uses=("p",))
        self.bus.start(
            Handlers(
                broadcast=self.recorder.on_broadcast,
                recorded=self._recorded,
                keeps=mesh.kept.keeps,
                messages={**self.calls.handlers, **self.responder.handlers},
                published=None,
                unread=None,
                paths_changed=None,
            )
        )
        self.bus.subscribe(topics.prefix("room:*"))
        self.recorder.start()

    def _recorded(self, topic, header, data):
        if not self.deaf:
            self.recorder.on_recorded(topic, header, data)

    def say(self, topic, number, event="msg"):
        return self.recorder.publish(topic, event, JSON, b"%d" % number, None)

    async def numbers(self, topic, epoch=None, after=None):
        page = await self.recorder.read(Query(topic, epoch, after))
        return [int(each.data) for each in page.entries], page

    def records(self, topic):
        return topic in self.recorder.records.recording

    async def close(self):
        self.calls.close()
        self.responder.close()
        await self.recorder.aclose()
        self.bus.close()


class Mesh:
    """The workers, a publisher that does not record, and a listener that hears what is recorded."""

    def __init__(self, settle_seconds=0.02):
        self.network = MemoryNetwork()
        self.kept = endpoint().kept_topics
        self.settle_seconds = settle_seconds
        self.workers = {}
        self.publisher = MemoryBus("publisher", self.network)
        self.recorded = []
        self.publisher.start(
            Handlers(
                broadcast=None,
                recorded=lambda topic, header, data: self.recorded.append((topic, header, data)),
                keeps=None,
                messages={},
                published=None,
                unread=None,
                paths_changed=None,
            )
        )
        self.publisher.subscribe(topics.prefix("room:*"))

    def say(self, topic, number, event="msg"):
        return self.publisher.publish(topic, event, JSON, b"%d" % number, None)

    def heard(self, topic):
        """The numbers of a topic, with their offsets and epochs, as receivers that follow terms take them."""
        newest, found = (0, ""), []
        for name, header, data in self.recorded:
            term = (header.recorded.term, header.origin)
            if name == topic and header.event and term >= newest:
                newest = term
                found.append((header.recorded.epoch, header.recorded.offset, int(data)))
        return found

    async def add(self, name):
        worker = self.workers[name] = Worker(name, self)
        for other in list(self.workers.values()):
            if other is not worker:
                other.recorder.announced(worker.announcement)
                worker.recorder.announced(other.announcement)
        return worker

    async def kill(self, name):
        worker = self.workers.pop(name)
        await worker.close()
        for other in self.workers.values():
            other.recorder.gone(name)

    async def stop(self, name):
        await self.workers[name].recorder.hand_over(2.0)
        await self.kill(name)

    async def settled(self):
        await until(lambda: all(each.recorder.succession.settled for each in self.workers.values()))

    async def confirmed(self):
        await until(lambda: not any(each.recorder.records.unconfirmed for each in self.workers.values()))

    def first(self, topic):
        return self.workers[ranked(topic, list(self.workers))[0]]

    async def close(self):
        for name in list(self.workers):
            await self.workers.pop(name).close()
        self.publisher.close()


@contextlib.asynccontextmanager
async def running(*names, settle_seconds=0.02):
    mesh = Mesh(settle_seconds)
    try:
        for name in names:
            await mesh.add(name)
        await mesh.settled()
        yield mesh
    finally:
        await mesh.close()


def run(scenario):
    async def main():
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(main())
