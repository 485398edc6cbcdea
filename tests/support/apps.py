"""Channels for what the conformance application has no event for."""

import asyncio
import os
import time

from tornado.websocket import WebSocketHandler

from mesh import Broadcast, Channel, Endpoint, Route, SocketHandler, error, ok, on, refuse


class OrderChannel(Channel):
    """Broadcast and reply in one handler, in every way."""

    @on("both")
    def both(self, payload):
        self.broadcast("first", payload)
        return ok(payload)

    @on("both_async")
    async def both_async(self, payload):
        await self.broadcast("first", payload)
        await asyncio.sleep(0)
        return ok(payload)

    @on("push_between")
    def push_between(self, payload):
        self.broadcast("one", payload)
        self.push("two", payload)
        self.broadcast("three", payload)
        self.reply(payload)

    @on("then_stop")
    def then_stop(self, payload):
        self.broadcast("first", payload)
        self.stop(reply=ok(payload))

    @on("then_crash")
    def then_crash(self, payload):
        self.broadcast("first", payload)
        raise RuntimeError("crashed on request")


class SlowChannel(Channel):
    """Joins that take as long as their payload says."""

    async def join(self, topic, payload):
        await asyncio.sleep(payload.get("seconds", 0))
        if payload.get("refuse"):
            return refuse("no")

    @on("slow")
    async def slow(self, payload):
        await asyncio.sleep(payload["seconds"])
        return ok(payload)

    @on("block")
    def block(self, payload):
        time.sleep(payload["seconds"])
        return ok(payload)

    @on("echo")
    def echo(self, payload):
        return ok(payload)


class OutChannel(Channel):
    """Decides for each member what it gets of a broadcast."""

    intercept = ("secret",)

    def join(self, topic, payload):
        self.assign(payload)

    @on("tell")
    def tell(self, payload):
        self.broadcast("secret", payload)
        return ok()

    def handle_out(self, event, payload):
        if payload["for"] == "stop":
            self.stop()
        if payload["for"] == self.assigns["name"]:
            self.push(event, payload | {"seen_by": self.assigns["name"]})


class RawHandler(WebSocketHandler):
    """A WebSocket without channels."""

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


class AfterChannel(Channel):
    """What happens around the join."""

    def join(self, topic, payload):
        self.endpoint().broadcast(topic, "from_join", {})
        if payload.get("wrong"):
            return "yes"
        if payload.get("push"):
            self.push("too_early", {})

    def after_join(self, payload):
        self.push("pushed_after_join", payload)
        self.broadcast("broadcast_after_join", payload)

    def endpoint(self):
        return endpoint


class InfoChannel(Channel):
    """Messages to oneself, other topics, late replies, the end."""

    async def join(self, topic, payload):
        self.seen = []
        for other in payload.get("subscribe", ()):
            await self.subscribe(other)

    @on("remind")
    def remind(self, payload):
        self.send(("remind", payload), delay_seconds=payload.get("delay", 0))

    @on("later")
    def later(self, payload):
        self.send(("answer", self.socket_ref(), payload))

    @on("subscribe")
    async def subscribe_to(self, payload):
        await self.subscribe(payload["topic"])
        return {}

    @on("unsubscribe")
    def unsubscribe_from(self, payload):
        self.unsubscribe(payload["topic"])
        return {}

    @on("assign")
    def assign(self, payload):
        self.assigns.update(payload)
        return dict(self.assigns)

    @on("stop")
    def stop_for(self, payload):
        self.stop(payload["reason"])

    @on("wrong")
    def wrong(self, payload):
        return "a string"

    @on("bad_push")
    def bad_push(self, payload):
        self.push("event", [1])

    @on("bad_event")
    def bad_event(self, payload):
        event = {"number": 7, "object": object(), "surrogate": "e\ud800"}[payload["what"]]
        getattr(self, payload["verb"])(event, {})

    @on("status")
    def any_status(self, payload):
        from mesh import Reply

        return Reply({"n": 1}, payload["status"])

    def handle_in(self, event, payload):
        if event == "other":
            return ok({"caught": event})
        return super().handle_in(event, payload)

    def handle_info(self, message):
        if isinstance(message, Broadcast):
            self.push("info", {"topic": message.topic, "event": message.event, "payload": message.payload})
        elif message[0] == "remind":
            self.push("reminder", message[1])
        else:
            self.reply(message[2], ref=message[1])

    def terminate(self, reason):
        self.endpoint().broadcast("watch:ends", "ended", {"topic": self.topic, "reason": str(reason)})

    def endpoint(self):
        return endpoint


class WatchChannel(Channel):
    """Sees what others broadcast."""

    spread = "socket"

    @on("locally")
    def locally(self, payload):
        endpoint.local_broadcast(self.topic, "local", payload)
        return {"pid": os.getpid()}


class UserSocket(SocketHandler):
    channels = [
        Route("order:*", OrderChannel),
        Route("slow:*", SlowChannel),
        Route("out:*", OutChannel),
        Route("after:*", AfterChannel),
        Route("info:*", InfoChannel, assigns={"route": "info"}),
        Route("watch:*", WatchChannel),
        Route("echo:*", SlowChannel),
    ]
    assigns = {"default": 1}

    async def connect(self, params, info):
        if params.get("connect") == "raise":
            raise RuntimeError("raised on request")
        if params.get("connect") == "wrong":
            return "yes"
        if params.get("connect") == "false":
            return False
        if params.get("connect") == "error":
            return error()
        if params.get("connect") == "unpackable":
            self.assigns["object"] = object()
        self.assigns["params"] = {key: value for key, value in params.items() if key != "vsn"}
        self.assigns["x"] = dict(info.x_headers)

    def id(self):
        if self.assigns["params"].get("id") == "wrong":
            return "$nodes"
        return None


endpoint = Endpoint(
    sockets={"/socket": UserSocket, "/tenants/:tenant/socket": UserSocket},
    http=[(r"/raw", RawHandler)],
    check_origin=["//allowed.example", "//*.apex.example"],
)
