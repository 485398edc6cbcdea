"""No user sees another's context variables: over every transport, and in no timer or task of the node."""

import asyncio
import gc
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import copy_context

import pytest
import structlog

from mesh.nodes.embedded import EmbeddedNode
from mesh.settings import build
from tests.support.contexts_app import USER, RoomChannel, endpoint
from tests.support.longpoll import LongPollClient
from tests.support.until import until
from tests.support.websocket import PhoenixClient, Refused, run
from tests.support.zeromq import Closed, ZeroMQClient


class TornadoClient(PhoenixClient):
    """Its request is not regular enough for the short handshake, so that Tornado reads it."""

    @classmethod
    async def connect(cls, base, query="", headers=None, sock=None):
        return await super().connect(base, query, {"Content-Length": "0"})


TRANSPORTS = {
    "websocket": PhoenixClient,
    "websocket by Tornado": TornadoClient,
    "longpoll": LongPollClient,
    "zeromq": ZeroMQClient,
}


@asynccontextmanager
async def running(tmp_path):
    settings = build(
        {
            "gateway": {"port": 0},
            "zeromq": {"bind": f"ipc://{tmp_path}/clients"},
            "presence": {"broadcast_seconds": 0.01, "diff_seconds": 0.02},
            "security": {"secret_key": "x" * 64},
        }
    )
    async with AsyncExitStack() as stack:
        yield await EmbeddedNode.start(stack, endpoint, settings)


def address(node, transport):
    return node.gateway.zeromq_address if transport == "zeromq" else node.gateway.addresses[0]


async def use(client, user):
    """Join, use everything, and check that only this user's values are seen."""
    topic = f"room:{user}"
    assert await client.join(topic, {"user": user}) == (
        "ok", {"before": None, "init": None, "started": "at import"},
    )  # fmt: skip
    for seconds in (0.001, 0.005):
        assert (await client.push(topic, "slow", {"seconds": seconds}))[1] == {"user": user, "before": user}
    await client.push(topic, "work", {"user": user})
    client.cast(topic, "whispered")
    assert (await client.event("whisper"))[4] == {"user": user}
    _, said = await client.push(topic, "who")
    assert said["user"] == user
    return said["connect"]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_connection_and_no_channel_sees_what_another_has_set(tmp_path, transport):
    async def scenario():
        async with running(tmp_path) as node:
            base = address(node, transport)
            for user, query in (("ana", ""), ("bob", "&slow=1"), ("carol", "")):
                client = await TRANSPORTS[transport].connect(base, f"user={user}{query}")
                later = {"later": user} if query else {}
                assert await use(client, user) == {
                    "init": None, "before": None, "started": "at import", "id": user, **later,
                }  # fmt: skip
                if user == "bob":
                    client.close()  # and carol comes after him

    run(scenario())


def test_users_of_all_transports_at_once_do_not_mix(tmp_path):
    async def one(node, transport, number):
        user = f"{transport.replace(' ', '-')}-{number}"
        slow = "&slow=1" if number % 2 else ""
        client = await TRANSPORTS[transport].connect(address(node, transport), f"user={user}{slow}")
        assert (await use(client, user))["before"] is None

    async def scenario():
        async with running(tmp_path) as node, asyncio.TaskGroup() as group:
            for number in range(4):
                for transport in TRANSPORTS:
                    group.create_task(one(node, transport, number))

    run(scenario())


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_connect_that_raises_is_reported_with_its_own_variables(tmp_path, transport):
    lines = []

    def note(_logger, _method, event):
        lines.append((event["event"], event.get("user"), USER.get()))
        raise structlog.DropEvent

    async def refused(node, query):
        with pytest.raises((Refused, Closed, ValueError)):
            await TRANSPORTS[transport].connect(address(node, transport), query)

    async def scenario():
        async with running(tmp_path) as node:
            await TRANSPORTS[transport].connect(address(node, transport), "user=ana")
            await refused(node, "user=bob&crash=1")
            await refused(node, "user=carol&crash=1&slow=1")

    before = structlog.get_config()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, note])
    try:
        run(scenario())
    finally:
        structlog.configure(**before)
    raised = [line for line in lines if line[0] == "connect raised"]
    assert raised == [("connect raised", each, each) for each in ("bob", "carol")]
    connected = [line for line in lines if line[0] == "connected"]
    assert connected == [("connected", "ana", "ana")]
    assert {line for line in lines if line[2] is not None} <= {*raised, *connected}


def own(callback):
    """Whether it is the node's: not of the application, nor a timer or the end of one channel."""
    function = getattr(callback, "func", callback)
    module = getattr(function, "__module__", "") or ""
    name = getattr(function, "__qualname__", "")
    return module.startswith(("mesh.", "gateway.", "nodes.")) and not name.startswith("WorkerContext.")


def test_no_timer_or_task_of_the_node_has_a_users_context(tmp_path):
    leaked = []

    def watch(loop):
        for name in ("call_soon", "call_later", "call_at"):
            setattr(loop, name, watched(getattr(loop, name), 0 if name == "call_soon" else 1))
        create = loop.create_task

        def create_task(coroutine, *, name=None, context=None):
            seen = (context or copy_context()).get(USER)
            if (
                seen is not None
                and name != "channel end"
                and "/tests/" not in coroutine.cr_code.co_filename
            ):
                leaked.append((name, coroutine))
            return create(coroutine, name=name, **({} if context is None else {"context": context}))

        loop.create_task = create_task

    def watched(schedule, index):
        def call(*arguments, context=None):
            if own(arguments[index]) and (context or copy_context()).get(USER) is not None:
                leaked.append(arguments[index])
            return schedule(*arguments, context=context)

        return call

    async def scenario():
        async with running(tmp_path) as node:
            watch(asyncio.get_running_loop())
            clients = {}
            for transport, kind in TRANSPORTS.items():
                user = transport.replace(" ", "-")
                clients[user] = await kind.connect(address(node, transport), f"user={user}&slow=1")
                await use(clients[user], user)
            clients["websocket"].cast("room:websocket", "crash")
            await clients["websocket"].event("phx_error")
            clients["websocket"].close()
            await until(lambda: node.worker.channels.counts()[0] == len(TRANSPORTS) - 1)

    run(scenario())
    assert leaked == []


class Reporter(logging.Handler):
    """Notes whose context variables an error reporter would find."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.seen = []

    def emit(self, record):
        self.seen.append((record.name, USER.get()))


def test_what_is_deleted_later_is_reported_and_closed_without_another_users_context(tmp_path):
    reporter = Reporter()
    RoomChannel.ended.clear()

    async def scenario():
        async with running(tmp_path) as node:
            clients = {}
            for user in ("ana", "bob"):
                clients[user] = await PhoenixClient.connect(node.gateway.addresses[0], f"user={user}")
                await clients[user].join(f"room:{user}", {"user": user})
            clients["ana"].cast("room:ana", "abandon", {})
            await clients["ana"].push("room:ana", "who")
            await clients["bob"].push("room:bob", "collect")

    gc.disable()
    logging.getLogger("asyncio").addHandler(reporter)
    try:
        run(scenario())
    finally:
        gc.enable()
        logging.getLogger("asyncio").removeHandler(reporter)
    assert [name for name, _ in reporter.seen] == ["asyncio"], "the test must abandon one task"
    assert reporter.seen[0][1] in (None, "ana"), "Python 3.12 tells the task's own context"
    assert [each for each in RoomChannel.ended if each[0] == "generator"] == [("generator", None)]
