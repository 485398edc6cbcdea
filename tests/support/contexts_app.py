"""Callbacks of every kind that say whose context variables they see."""

import asyncio
import gc
from contextvars import ContextVar

import structlog

from mesh import TIMEOUT, Channel, Endpoint, Mount, Presence, SocketHandler, on, refuse

USER = ContextVar("user", default=None)
STARTED = ContextVar("started", default=None)
STARTED.set("at import")


class Fetched(Presence):
    """Sets and reads the variable in what the worker calls for a diff."""

    seen = []

    def fetch(self, topic, presences):
        self.seen.append(("fetch", USER.get()))
        return presences

    async def handle_metas(self, topic, diff, presences):
        self.seen.append(("handle_metas", USER.get()))
        USER.set("of a presence")
        await asyncio.sleep(0)
        self.seen.append(("handle_metas, later", USER.get()))


presence = Fetched()


class RoomChannel(Channel):
    """Every callback notes what it sees; the user is set in `join`."""

    intercept = ("whisper",)
    ended = []

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seen = {"init": USER.get()}

    async def join(self, topic, payload):
        self.seen["join"] = USER.get()
        USER.set(payload["user"])
        structlog.contextvars.bind_contextvars(user=payload["user"])
        await asyncio.sleep(0)
        self.seen["join, later"] = USER.get()
        if payload.get("refuse"):
            return refuse("no")
        if payload.get("crash"):
            raise RuntimeError("the join crashed")
        return {"before": self.seen["join"], "init": self.seen["init"], "started": STARTED.get()}

    def after_join(self, payload):
        self.seen["after_join"] = USER.get()

    @on("who")
    def who(self, payload):
        return {"user": USER.get(), "connect": self.assigns["connect"]}

    @on("slow")
    async def slow(self, payload):
        before = USER.get()
        await asyncio.sleep(payload["seconds"])
        await asyncio.create_task(self.child())
        return {"user": USER.get(), "before": before}

    async def child(self):
        self.seen["child task"] = USER.get()
        USER.set("of a child task")

    @on("set")
    def set(self, payload):
        USER.set(payload["user"])

    @on("work")
    async def work(self, payload):
        """Use all that arms timers and tasks of the worker."""
        presence.track(self, payload["user"], {})
        presence.list(self)
        await self.subscribe(f"other:{payload['user']}")
        endpoint.broadcast(f"other:{payload['user']}", "news", {})
        self.broadcast("told", {})
        self.send("now")
        self.send("soon", 0.01)
        self.push("pushed", {})
        return {}

    @on("quiet")
    def quiet(self, payload):
        self.timeout(0.01)

    @on("whispered")
    def whispered(self, payload):
        self.broadcast("whisper", {})

    @on("crash")
    def crash(self, payload):
        raise RuntimeError("crashed on request")

    @on("abandon")
    async def abandon(self, payload):
        """Leave a task that fails, and a generator, to be deleted at any later time."""
        asyncio.create_task(self.failing())  # noqa: RUF006
        self.generator = self.generate()
        await anext(self.generator)
        self.kept = [self.generator]
        self.kept.append(self.kept)
        del self.generator
        del self.kept
        await asyncio.sleep(0.01)

    async def failing(self):
        task = asyncio.current_task()  # with its error's traceback, a cycle
        raise RuntimeError(f"{task.get_name()} failed")

    async def generate(self):
        try:
            yield 1
        finally:
            self.ended.append(("generator", USER.get()))

    @on("collect")
    async def collect(self, payload):
        gc.collect()
        await asyncio.sleep(0.01)
        return {}

    @on("hang")
    async def hang(self, payload):
        await asyncio.sleep(60)

    @on("seen")
    def seen_so_far(self, payload):
        return self.seen

    def handle_in(self, event, payload):
        return {"user": USER.get()}

    def handle_out(self, event, payload):
        self.push("whisper", {"user": USER.get()})

    def handle_info(self, message):
        name = "timeout" if message is TIMEOUT else getattr(message, "event", message)
        self.seen[name] = USER.get()
        self.push("info", {"user": USER.get(), "message": name})

    def snapshot(self):
        return {"user": USER.get()}

    def restore(self, state):
        self.seen["restore"] = USER.get()
        USER.set(state["user"])

    def terminate(self, reason):
        self.ended.append((self.topic, USER.get(), str(reason)))


class UserSocket(SocketHandler):
    """The user of a connection is set in `connect`, which does all that a `connect` may do."""

    channels = {"room:*": RoomChannel}

    def __init__(self):
        super().__init__()
        self.assigns["connect"] = {"init": USER.get()}

    def connect(self, params, info):
        seen = self.assigns["connect"]
        seen["before"] = USER.get()
        seen["started"] = STARTED.get()
        USER.set(params["user"])
        structlog.contextvars.bind_contextvars(user=params["user"])
        endpoint.broadcast("connected", "connected", {})
        if "crash" in params:
            raise RuntimeError("connect crashed")
        if "slow" in params:
            return self.later(params)
        return None

    async def later(self, params):
        await asyncio.sleep(0.01)
        self.assigns["connect"]["later"] = USER.get()

    def id(self):
        self.assigns["connect"]["id"] = USER.get()


endpoint = Endpoint(
    {"/socket": Mount(UserSocket, longpoll=True)},
    presences=[presence],
)
