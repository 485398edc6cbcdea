"""Uses every call of the channel API on a few channels, for tests of clients and for load generators.

Run: mesh serve examples.conformance:endpoint --port 4000
"""

import json
import time

from tornado.web import HTTPError, RequestHandler

from mesh import Channel, Endpoint, MeshError, Mount, Presence, SocketHandler, error, ok, on, refuse


class RoomChannel(Channel):
    intercept = ("intercept_me",)

    def join(self, topic, payload):
        if topic == "room:private":
            return refuse("unauthorized")
        return {"topic": topic}

    @on("new_msg")
    def new_msg(self, payload):
        self.broadcast("new_msg", payload)

    @on("echo", "bin")
    def echo(self, payload):
        return ok(payload)

    @on("fail")
    def fail(self, payload):
        return error({"reason": "bad"})

    @on("noreply")
    def noreply(self, payload):
        return None

    @on("from")
    def broadcast_to_others(self, payload):
        self.broadcast_from("from", payload)

    @on("push_me")
    def push_me(self, payload):
        self.push("pushed", payload)

    @on("crash")
    def crash(self, payload):
        raise RuntimeError("crashed on request")

    @on("stop")
    def stop_normally(self, payload):
        self.stop("normal", reply=ok({}))

    @on("intercept_me")
    def broadcast_intercepted(self, payload):
        self.broadcast("intercept_me", payload)

    def handle_out(self, event, payload):
        self.push(event, {**payload, "to": self.assigns["user_id"]})


class BenchChannel(Channel):
    @on("echo")
    def echo(self, payload):
        return ok(payload)

    @on("new_msg")
    def new_msg(self, payload):
        self.broadcast("new_msg", payload)


presence = Presence()


class PresenceChannel(Channel):
    def after_join(self, payload):
        presence.track(self, self.assigns["user_id"], {"online_at": int(time.time())})
        self.push("presence_state", presence.list(self))


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel, "bench:*": BenchChannel, "presence:*": PresenceChannel}

    def connect(self, params, info):
        if params.get("token") == "bad":
            return refuse()
        self.assigns["user_id"] = params.get("user_id")

    def id(self):
        user_id = self.assigns["user_id"]
        return None if user_id is None else f"users:{user_id}"


class BroadcastHandler(RequestHandler):
    """`POST /broadcast?topic=T&event=E` with a JSON object broadcasts it."""

    def post(self):
        try:
            topic, event = self.get_query_argument("topic"), self.get_query_argument("event")
            payload = json.loads(self.request.body)
            if not isinstance(payload, dict):
                raise ValueError("the body is not a JSON object")
            self.settings["endpoint"].broadcast(topic, event, payload)
        except (HTTPError, ValueError, RecursionError, MeshError) as problem:
            self.set_status(400)
            self.finish(f"{problem}\n")
            return
        self.set_status(204)


endpoint = Endpoint(
    sockets={"/socket": Mount(UserSocket, longpoll=True)},
    http=[(r"/broadcast", BroadcastHandler)],
    presences=[presence],
)
