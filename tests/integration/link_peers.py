"""A worker and a gateway that send whatever a test wants over the link."""

import msgspec
import zmq

from mesh import settings
from tests.support.until import until

SILENCE = 0.5


LINK = settings.load(flags={"link": {"heartbeat_seconds": 60, "heartbeat_timeout_seconds": 60}}).link


PACK = msgspec.msgpack.encode


class FakeWorker:
    """A ROUTER that says what a test wants to the gateway that said something last."""

    def __init__(self, context):
        self.router = context.socket(zmq.ROUTER)
        self.router.linger = 0
        self.router.bind("tcp://127.0.0.1:*")
        self.address = self.router.getsockopt_string(zmq.LAST_ENDPOINT)
        self.hellos = 0

    async def hello(self):
        """The next Hello; other batches are dropped."""
        while True:
            await until(lambda: self.router.poll(0))
            self.link, batch = self.router.recv_multipart()
            first = msgspec.msgpack.decode(batch)[:1]
            if first and first[0][0] == 0:
                self.hellos += 1
                return

    def say(self, *batch):
        self.send(PACK(batch))

    def send(self, data):
        self.router.send_multipart([self.link, data])

    async def welcome(self):
        await self.hello()
        self.say([1, 2, "w"])


class FakeGateway:
    def __init__(self, context, address):
        self.dealer = context.socket(zmq.DEALER)
        self.dealer.linger = 0
        self.dealer.connect(address)

    def say(self, *batch):
        self.dealer.send(PACK(batch))

    async def answer(self, number):
        """The next command of this number."""
        while True:
            await until(lambda: self.dealer.poll(0))
            for command in msgspec.msgpack.decode(self.dealer.recv()):
                if command[0] == number:
                    return command
