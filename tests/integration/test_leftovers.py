"""After clients have gone, no room of an embedded node holds anything of them: every container is counted."""

import asyncio
import gc
from collections import Counter, deque
from contextlib import AsyncExitStack

from examples.conformance import BenchChannel
from mesh import Channel, Endpoint, Mount, Presence, SocketHandler
from mesh.client import Client
from mesh.gateway.http.listener import Listener
from mesh.gateway.http.server import GatewayServer
from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from tests.support.longpoll import LongPoll
from tests.support.until import until

OURS = ("mesh.", "gateway.", "nodes.")
CONTAINERS = (dict, list, set, frozenset, tuple, deque)
BOUNDED = {
    "_Origin.recent",  # numbers of messages that have come, for half a minute
    "_Origin.older",
    "ResendBuffer._messages",  # what a proxy may have lost, for a second
    "ResendBuffer._checkpoints",
    "ProxyConnection._probes",  # those under way
    "State._log",  # what this replica did last, 10,000 numbers at most
    "Subscriber._in_force_since",  # subscriptions of the last 15 seconds that are in force
    "Subscriber._first_sequences",
    "Runners._tasks",  # idle tasks, kept for the next callbacks
    "Runners._idle",
    "KeptTopics._found",  # the routes of topics looked up last, 10,000 at most
    "Barrier._echoed",
    "Barrier._probed_subscriptions",  # of the last probe
}
"""What may be longer or shorter at any time, and why that does not grow without end."""


def sizes(node) -> Counter[str]:
    """How many elements all containers hold that our objects have, by class and attribute."""
    servers = [each for each in gc.get_objects() if isinstance(each, (Listener, GatewayServer))]
    found: Counter[str] = Counter()
    seen: set[int] = set()
    todo = [(each, "") for each in (node, *servers)]
    while todo:
        value, name = todo.pop()
        if id(value) in seen or value is None:
            continue
        seen.add(id(value))
        if isinstance(value, CONTAINERS):
            if not isinstance(value, (tuple, frozenset)):  # many places share one: they only lead on
                found[name] += len(value)
            inside = [*value, *value.values()] if isinstance(value, dict) else value
            todo += [(each, f"{name}[]") for each in inside]
        elif type(value).__module__.startswith(OURS) and not isinstance(value, type):
            todo += [(each, f"{type(value).__name__}.{attribute}") for attribute, each in attributes(value)]
    return found


def attributes(value):
    slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
    names = [*getattr(value, "__dict__", {}), *(slot for slot in slots if slot != "__weakref__")]
    return [(name, getattr(value, name)) for name in names if hasattr(value, name)]


def app():
    presence = Presence()

    class Room(Channel):
        intercept = ("shout",)

        async def after_join(self, payload):
            presence.track(self, self.assigns["user"], {})
            await self.subscribe(f"other:{self.assigns['user']}")
            self.push("presence_state", presence.list(self))

        def handle_out(self, event, payload):
            self.push(event, payload)

    class User(SocketHandler):
        channels = {"room:*": Room, "bench:*": BenchChannel}

        def connect(self, params, info):
            self.assigns["user"] = params["user"]

        def id(self):
            return f"users:{self.assigns['user']}"

    return Endpoint(sockets={"/socket": Mount(User, longpoll=True)}, presences=[presence])


async def visit(address, user, leave):
    """Join a topic that others join and one of one's own, say something, go."""
    async with Client(address, params={"user": user}) as client:
        rooms = [await client.join(topic) for topic in ("room:all", f"room:{user}", f"bench:{user}")]
        assert await rooms[2].push("echo", {"a": 1}) == {"a": 1}
        if leave:
            for room in rooms:
                await room.leave()


async def poll(base, user):
    session = LongPoll([base], query=f"vsn=2.0.0&user={user}")
    answer = await session.get()
    session.token = answer.json["token"]
    await session.post(b'["1","1","room:%b","phx_join",{}]' % user.encode())


async def come_and_go(node, base, first, last):
    for number in range(first, last):
        for kind, address in (
            ("w", base.replace("http", "ws") + "/socket"),
            ("z", node.gateway.zeromq_address),
        ):
            await visit(address, f"{kind}{number}", leave=bool(number % 2))
        await poll(base, f"l{number}")
    await until(
        lambda: node.gateway.gauges()["open_connections"] == {"websocket": 0, "longpoll": 0, "zeromq": 0}
    )
    await until(
        lambda: node.gateway.gauges()["open_channels"] == 0 and node.worker.channels.counts() == (0, 0)
    )
    await until(lambda: not node.worker.presences.busy)
    await until(lambda: not any(getattr(each, "lingering", ()) for each in node.gateway.transports))


def grown(node, before):
    after = sizes(node)
    return {
        name: (before[name], count)
        for name, count in after.items()
        if count > before[name] and not any(name.startswith(each) for each in BOUNDED)
    }


def test_nothing_of_a_client_is_left_in_any_container(tmp_path):
    async def scenario():
        settings = build(
            {
                "gateway": {"port": 0},
                "longpoll": {"window_seconds": 0.2},
                "zeromq": {"bind": f"ipc://{tmp_path}/clients"},
                "log": {"level": "error"},
            }
        )
        async with AsyncExitStack() as stack:
            node = await EmbeddedNode.start(stack, app(), settings)
            (base,) = node.gateway.addresses
            await until(lambda: node.gateway.checks()["workers"] is None)
            await come_and_go(node, base, 0, 5)
            before = sizes(node)
            assert before["Subscriber._subscription_counts"] > 3, "the walk finds containers"
            assert "Listener._silent" in before, "the walk finds what only the stack of the node holds"
            await come_and_go(node, base, 5, 25)
            try:
                await until(lambda: not grown(node, before))
            except TimeoutError:
                raise AssertionError(grown(node, before)) from None

    asyncio.run(scenario())
