"""Two workers between which a channel moves; the test is the gateway between them."""

import asyncio
import gc

import msgspec

from mesh import Channel, Endpoint, Presence, Route, SocketHandler, on
from mesh.bus.frames import VERSION, Header
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.settings import PresenceSettings, WorkerSettings
from mesh.worker.channel.server import ChannelServer
from mesh.worker.channels import Channels
from mesh.worker.presence.registry import PresenceRegistry
from tests.support.bus import NumberingBus
from tests.support.until import until

LINK = b"link"


presence = Presence()


class Mover(Channel):
    intercept = ("secret",)
    ended = []

    def join(self, topic, payload):
        self.got = []

    @on("n")
    async def n(self, payload):
        await asyncio.sleep(payload.get("seconds", 0))
        self.got.append(payload["n"])
        return {"got": self.got}

    @on("do")
    async def do(self, payload):
        self.how = payload
        if "assign" in payload:
            self.assign(payload["assign"])
        if "subscribe" in payload:
            await self.subscribe(payload["subscribe"])
        if "broadcast" in payload:
            self.broadcast("said", {})
        if "later" in payload:
            self.send("later", payload["later"])
        if "track" in payload:
            presence.track(self, payload["track"])
        return {}

    def handle_out(self, event, payload):
        self.got.append(["out", payload["n"]])

    def handle_info(self, message):
        self.got.append(["info", message if isinstance(message, str) else message.topic])
        if message == "spin":
            self.send("spin")

    async def snapshot(self):
        how = getattr(self, "how", {})
        if "raise" in how:
            raise RuntimeError("on request")
        if "nothing" in how:
            return None
        if "stop" in how:
            self.stop()
        if "slow" in how:
            await asyncio.sleep(how["slow"])
        return {"got": list(self.got), **({"how": how} if how else {})}

    async def restore(self, state):
        how = state.get("how", {})
        if "slow_restore" in how:
            await asyncio.sleep(how["slow_restore"])
        if "bad_restore" in how:
            raise RuntimeError("on request")
        if "wrong_restore" in how:
            return {"reply": 1}
        self.got = state["got"]
        self.push("restored", {"assigns": {k: v for k, v in self.assigns.items() if k != "service"}})

    def terminate(self, reason):
        self.ended.append((str(reason), getattr(self, "got", None)))


class Stayer(Channel):
    @on("n")
    def n(self, payload):
        return {}


class User(SocketHandler):
    channels = [
        Route("move:*", Mover, assigns={"service": Mover, "limit": 5}),
        Route("stay:*", Stayer),
    ]


class Worker:
    """One worker; `sent` are its commands to its only gateway."""

    def __init__(self, name="old", version=2, **settings):
        self.bus, self.sent = NumberingBus(), []
        self.name, self.peers = name, []
        self.channels = Channels(
            Endpoint({"/socket": User}),
            self.bus,
            self.send,
            WorkerSettings(**settings),
            lambda link: version,
            lambda local_broadcast: PresenceRegistry.of(
                [presence], name, self.publish, PresenceSettings(), local_broadcast
            ),
        )
        self.presences = self.channels.presences
        self.bus.channels = self.channels
        self.channels.gateway_up(LINK, "g")

    def publish(self, kind, topic, event, codec, data):
        """A message of its tracker reaches the workers in `peers`."""
        header = Header(VERSION, kind, self.name, 0, event, codec)
        for peer in self.peers:
            asyncio.get_running_loop().call_soon(peer.presences.handle, header, data)

    def send(self, link, command):
        self.sent.append(command)
        return len(self.sent)

    def do(self, command):
        self.channels.handle(LINK, command)

    async def join(self, number=1, topic="move:1"):
        data = msgspec.msgpack.encode({"user": "ana"})
        self.do(
            commands.Join(number, "/socket", topic, "1", None, "websocket", "v2_json", data, JSON, b"{}")
        )
        await self.wait(commands.Joined, number)

    def push(self, event, number=1, ref="2", **payload):
        self.do(commands.Push(number, ref, event, JSON, msgspec.json.encode(payload)))

    def drain(self, seconds=10):
        return asyncio.create_task(self.channels.move_away(seconds))

    async def wait(self, kind, number=1):
        def found():
            return [each for each in self.sent if isinstance(each, kind) and each.channel == number]

        return (await until(found))[-1]

    def restore(self, moved, number=1, topic="move:1"):
        self.do(
            commands.Join(
                number,
                "/socket",
                topic,
                "1",
                None,
                "websocket",
                "v2_json",
                moved.assigns,
                2,
                moved.data,
                True,
            )
        )

    def kinds(self):
        return [type(each) for each in self.sent]

    async def close(self):
        await self.channels.aclose()
        self.presences.close()


def scenario(test):
    """Runs with an old worker whose channel 1 has joined, and a new one."""
    settings = getattr(test, "settings", {})

    def run():
        async def main():
            Mover.ended.clear()
            new = Worker("new")
            old = Worker("old", **settings)  # the presence is bound to the last
            await old.join()
            try:
                await test(old, new)
            finally:
                await old.close()
                await new.close()

        asyncio.run(main())

    run.__name__ = test.__name__
    return run


def with_settings(**settings):
    def mark(test):
        test.settings = settings
        return test

    return mark


async def move(old):
    draining = old.drain()
    await old.wait(commands.Moving)
    old.do(commands.Handover(1))
    await draining
    return await old.wait(commands.Moved)


def got(worker):
    return msgspec.json.decode(worker.sent[-1].data)["got"]


def channels_and_servers():
    return [each for each in gc.get_objects() if type(each) in (Mover, ChannelServer)]


def connect_trackers(one, two):
    """Let the trackers of two workers hear each other."""
    one.peers, two.peers = [two], [one]
    for worker in (one, two):
        worker.presences.start()


def run_without_collection(run):
    """Only reference counts free objects while `run` runs."""
    gc.collect()
    gc.disable()
    try:
        run()
    finally:
        gc.enable()
