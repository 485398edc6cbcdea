"""A chat with rooms, history and presence. Run: mesh serve examples.chat:endpoint --port 4000"""

from pathlib import Path
from time import time

from mesh import Channel, Endpoint, History, Mount, Presence, SocketHandler, error, on, refuse

MAX_NAME, MAX_BODY, MAX_ROOM = 40, 2000, 60

people = Presence()


class RoomChannel(Channel):
    history = History(messages=200, seconds=24 * 3600, events=("new_msg",))

    def join(self, topic, payload):
        size = len(topic.removeprefix("room:"))
        if not 0 < size <= MAX_ROOM:
            return refuse(f"a room's name must have 1 to {MAX_ROOM} characters, not {size}")

    def after_join(self, payload):
        people.track(self, self.assigns["user"], {"tab": self.assigns["tab"]})
        self.push("presence_state", people.list(self))

    @on("typing")
    def typing(self, payload):
        self.broadcast_from("typing", self.me())

    @on("new_msg")
    def new_msg(self, payload):
        body = payload.get("body") if isinstance(payload, dict) else None
        text = body.strip() if isinstance(body, str) else ""
        if not 0 < len(text) <= MAX_BODY:
            return error({"reason": f"a message must have 1 to {MAX_BODY} characters, not {len(text)}"})
        self.broadcast("new_msg", {**self.me(), "body": text, "at": time()})
        return {}

    def me(self):
        return {"user": self.assigns["user"], "tab": self.assigns["tab"]}


class UserSocket(SocketHandler):
    channels = {"room:*": RoomChannel}

    def connect(self, params, info):
        user, tab = params.get("user"), params.get("tab")
        if not isinstance(user, str) or not 0 < len(user.strip()) <= MAX_NAME:
            return refuse()
        self.assigns.update(user=user.strip(), tab=str(tab)[:40])


here = Path(__file__).parent
endpoint = Endpoint(
    sockets={"/socket": Mount(UserSocket, longpoll=True)},
    presences=[people],
    static={"/": here / "static", "/js": here.parents[1] / "clients" / "js"},
)
