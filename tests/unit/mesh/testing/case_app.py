"""An application that does everything, for the tests of ChannelCase."""

import asyncio

from mesh import Channel, Endpoint, Presence, SocketHandler, error, ok, on, refuse

people = Presence()


class RoomChannel(Channel):
    intercept = ("secret",)

    async def join(self, topic, payload):
        if payload.get("crash"):
            raise RuntimeError("crashed on request")
        if topic == "room:private":
            return refuse("unauthorized")
        if payload.get("slow"):
            await asyncio.sleep(0.02)
        if payload.get("announce"):
            endpoint.broadcast(topic, "announced", {})
        self.assigns["stuck"] = payload.get("stuck", {})
        return {"topic": topic}

    def after_join(self, payload):
        if payload.get("die"):
            raise RuntimeError("died after the join")
        if payload.get("present"):
            people.track(self, payload["present"])
            self.push("presence_state", people.list(self))

    @on("ping")
    def ping(self, payload):
        return ok(payload)

    @on("fail")
    def fail(self, payload):
        return error({"reason": "bad"})

    @on("shout")
    async def shout(self, payload):
        await self.broadcast("shout", payload)

    @on("others")
    def others(self, payload):
        self.broadcast_from("others", payload)

    @on("secret")
    def secret(self, payload):
        self.broadcast("secret", payload)

    @on("slow")
    async def slow(self, payload):
        await asyncio.sleep(payload["seconds"])
        return {}

    @on("spin")
    async def spin(self, payload):
        for turn in range(payload["turns"]):
            await asyncio.sleep(0)
            self.assigns["spun"] = turn + 1

    @on("count down")
    def count_down(self, payload):
        self.assigns["left"] = payload["from"]
        self.send("count")

    @on("in the background")
    def in_the_background(self, payload):
        async def work():
            await asyncio.sleep(payload["seconds"])
            self.push("done in the background", {})

        self.task = asyncio.get_running_loop().create_task(work())

    @on("in a thread")
    def in_a_thread(self, payload):
        loop = asyncio.get_running_loop()
        done = ("done in a thread", {})
        loop.run_in_executor(None, loop.call_soon_threadsafe, self.push, *done)

    @on("throw out")
    def throw_out(self, payload):
        endpoint.disconnect(payload["id"])

    @on("later")
    def later(self, payload):
        self.send(self.socket_ref(), delay_seconds=0.01)

    @on("unencodable")
    def unencodable(self, payload):
        self.push("object", {"object": object()})

    @on("bytes")
    def bytes(self, payload):
        return b"\x00\xff"

    @on("stop")
    def stop_it(self, payload):
        self.stop(reply=ok({"bye": True}))

    @on("listen")
    async def listen(self, payload):
        await self.subscribe("other:1")

    def handle_out(self, event, payload):
        self.push(event, {**payload, "to": self.assigns["user"]})

    def handle_info(self, message):
        if message == "count":
            self.assigns["left"] -= 1
            if self.assigns["left"] > 0:
                self.send("count")
        elif hasattr(message, "ref"):
            self.reply({"late": True}, ref=message)
        else:
            self.push("heard", {"event": message.event, "payload": message.payload})

    async def terminate(self, reason):
        await asyncio.sleep(30 if "terminate" in self.assigns.get("stuck", {}) else 0.01)
        self.endpoint().broadcast("ends", "ended", {"reason": str(reason)})

    def endpoint(self):
        return endpoint


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}

    async def connect(self, params, info):
        if params.get("token") == "bad":
            return refuse("bad token")
        if params.get("token") == "hangs":
            await asyncio.sleep(30)
        if params.get("token") == "times out":
            raise TimeoutError("its own")
        if params.get("token") == "nonsense":
            return "yes"
        self.assigns.update(user=params.get("user", "ana"), agent=info.user_agent)

    def id(self):
        return f"users:{self.assigns['user']}"


endpoint = Endpoint({"/socket": UserSocket}, presences=[people])
