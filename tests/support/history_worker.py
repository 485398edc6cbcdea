"""A worker that answers for histories, with its recorder replaced by a MemoryStore."""

import contextlib
from itertools import count

import zmq

from mesh import Channel, Endpoint, History, SocketHandler, settings
from mesh.bus.calls import Responder
from mesh.bus.discovery.announcements import Announcer
from mesh.bus.discovery.placement import Announcement
from mesh.bus.frames import ANNOUNCEMENT
from mesh.bus.zeromq.bus import ZeroMQBus
from mesh.history.answers import HistoryAnswers
from mesh.history.contract import Page
from mesh.history.memory_store import MemoryStore
from mesh.protocol import payloads
from tests.support.proxy import handlers, node_handlers

KEPT = ("/socket", "room:*")


class RoomChannel(Channel):
    history = History(messages=1_000, bytes=50_000_000)


class PlainChannel(Channel):
    pass


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel, "plain:*": PlainChannel}


endpoint = Endpoint({"/socket": UserSocket})


class StoreSource:
    """The histories of all topics; `queries` are those that were answered, `forgotten` the topics."""

    def __init__(self):
        self.store = MemoryStore("worker", 100_000_000)
        self.queries, self.forgotten = [], []
        self._numbers = count(1)

    async def record(self, topic, event, payload, codec=None):
        """Record a payload, or with `codec` its bytes."""
        given = payloads.encode(payload) if codec is None else (codec, payload)
        await self.store.open(topic, RoomChannel.history)
        self.store.record(topic, event, *given, "gateway", next(self._numbers))

    async def read(self, query):
        self.queries.append(query)
        await self.store.open(query.topic, RoomChannel.history)
        return await self.store.read(query)

    async def forget(self, topic):
        self.forgotten.append(topic)
        await self.store.open(topic, RoomChannel.history)
        return Page(*await self.store.forget(topic), True, [])


@contextlib.contextmanager
def history_worker(address, name, source, history=(KEPT,)):
    """A worker on the bus that announces these routes and answers for their topics."""
    context = zmq.Context()
    made = ZeroMQBus(context, name, settings.load(flags={"bus": {"proxies": [address]}}).bus)
    responder = Responder(made, HistoryAnswers(source, endpoint.kept_topics).find)
    announcement = Announcement(node=name, kind="worker", routes=history, history=history)
    announcer = Announcer(made, announcement, 1.0, 5.0)
    announcer.start(node_handlers())
    made.start(handlers(messages={**responder.handlers, ANNOUNCEMENT: announcer.on_announcement}))
    try:
        yield made
    finally:
        announcer.close()
        responder.close()
        made.close()
        context.term()
