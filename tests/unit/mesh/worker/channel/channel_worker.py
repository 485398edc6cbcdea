"""A worker's channels with one linked gateway: `sent` records the commands to it, the bus numbers what is published."""

import asyncio
import time

import msgspec

from mesh import Channel, Endpoint, Route, SocketHandler, SocketRef, ok, on, refuse
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.settings import WorkerSettings
from mesh.worker.channels import Channels
from tests.support.bus import NumberingBus
from tests.support.until import until

LINK = b"link"


class Room(Channel):
    intercept = ("secret",)
    ended = []
    gate = None

    @on("echo")
    def echo(self, payload):
        return payload

    @on("both")
    def both(self, payload):
        self.broadcast("news", payload)
        return {}

    @on("wait")
    async def wait(self, payload):
        Room.gate = asyncio.Event()
        await Room.gate.wait()

    @on("toil")
    def toil(self, payload):
        time.sleep(0.01)

    @on("flood")
    def flood(self, payload):
        for number in range(payload["count"]):
            self.send(number)

    @on("hang")
    async def hang(self, payload):
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if not payload.get("stubborn"):
                    raise

    def handle_out(self, event, payload):
        self.push(event, payload)

    @on("spin")
    def spin(self, payload):
        self.send("spin")

    def handle_info(self, message):
        if message == "spin":
            self.send("spin")

    def terminate(self, reason):
        self.ended.append(str(reason))


class Patient(Channel):
    """Sets timeouts, and records what it receives."""

    heard = []

    async def join(self, topic, payload):
        self.heard.append(("join", payload))
        if payload == {"refuse": True}:
            return refuse("no")
        if isinstance(payload, dict) and "slow" in payload:
            await asyncio.sleep(payload["slow"])
        if payload == {"stubborn": True}:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass

    @on("wait")
    def wait(self, payload):
        self.timeout(payload["seconds"])

    @on("wait_and_go_on")
    async def wait_and_go_on(self, payload):
        self.timeout(payload["seconds"])
        await asyncio.sleep(2 * payload["seconds"])

    @on("echo")
    def echo(self, payload):
        return ok(payload)

    @on("tell")
    def tell(self, payload):
        self.send(payload["what"])

    @on("listen")
    async def listen(self, payload):
        await self.subscribe(payload["topic"])
        return {}

    @on("later")
    def later(self, payload):
        self.send("later", float(payload["seconds"]))

    @on("end")
    def end(self, payload):
        self.stop(payload["reason"])

    @on("reply_elsewhere")
    def reply_elsewhere(self, payload):
        self.reply({}, ref=SocketRef("room:other", "1"))

    def handle_info(self, message):
        self.heard.append(message)
        if message == "wait again":
            self.timeout(1)
        if message == "reply":
            self.reply({})
        return 7 if message == "return" else None

    def terminate(self, reason):
        self.heard.append(("terminate", str(reason)))


class Deaf(Channel):
    log_join, log_handle_in = "info", "warning"

    @on("tell")
    def tell(self, payload):
        self.send(payload["what"])
        return {}


async def cancelled():
    other = asyncio.create_task(asyncio.sleep(60))
    other.cancel()
    await other


class Fragile(Channel):
    """Awaits a cancelled task in each callback."""

    async def join(self, topic, payload):
        if payload == {"join": True}:
            await cancelled()

    @on("end")
    def end(self, payload):
        self.stop("normal")

    @on("crash")
    async def crash(self, payload):
        await cancelled()

    async def terminate(self, reason):
        await cancelled()


class User(SocketHandler):
    channels = [
        Route("fragile:*", Fragile),
        Route("room:*", Room),
        Route("patient:*", Patient),
        Route("deaf:*", Deaf, assigns={"tags": ["a"], "deep": {"b": []}, "service": Room}),
    ]


class Worker:
    """The channels of a worker, linked to one gateway."""

    def __init__(self, link_version=commands.SPOKEN.newest, **settings):
        self.bus, self.sent = NumberingBus(), []
        self.channels = Channels(
            Endpoint({"/socket": User}),
            self.bus,
            self.send,
            WorkerSettings(**settings),
            lambda link: link_version,
        )
        self.bus.channels = self.channels
        self.channels.gateway_up(LINK, "g")
        Room.ended.clear()
        Room.gate = None
        Patient.heard.clear()

    def send(self, link, command):
        assert link == LINK
        self.sent.append(command)
        return len(self.sent)

    def join(self, number=1, topic="room:1", codec=JSON, data=b"{}"):
        assigns = msgspec.msgpack.encode({})
        self.do(
            commands.Join(number, "/socket", topic, "1", None, "websocket", "v2_json", assigns, codec, data)
        )

    def push(self, event, data=b"{}", number=1, ref="2"):
        self.do(commands.Push(number, ref, event, JSON, data))

    def do(self, command):
        self.channels.handle(LINK, command)

    async def wait(self, kind, count=1):
        await until(lambda: sum(isinstance(each, kind) for each in self.sent) >= count)
        return [each for each in self.sent if isinstance(each, kind)][count - 1]


def scenario(run_in=asyncio.run, **settings):
    def decorate(test):
        def run():
            async def main():
                worker = Worker(**settings)
                try:
                    await test(worker)
                finally:
                    await worker.channels.aclose()

            run_in(main())

        run.__name__ = test.__name__
        return run

    return decorate
