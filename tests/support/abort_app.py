"""Channels that end their process: `abort:*` when it is joined, `push:*` when something is pushed."""

import asyncio
import os
import resource

from mesh import Channel, Endpoint, SocketHandler


def abort():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


class AbortChannel(Channel):
    def join(self, topic, payload):
        if not payload.get("spare"):
            abort()


class SpreadChannel(AbortChannel):
    spread = "socket"


class SlowChannel(Channel):
    async def join(self, topic, payload):
        await asyncio.sleep(payload.get("seconds", 0))


class UserSocket(SocketHandler):
    channels = {"abort:*": AbortChannel, "spread:*": SpreadChannel, "slow:*": SlowChannel}


endpoint = Endpoint(sockets={"/socket": UserSocket})
