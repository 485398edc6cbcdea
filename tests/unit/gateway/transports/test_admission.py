"""gateway/transports/admission.py: what the application's `connect` raises."""

import asyncio

import pytest

from mesh import Channel, SocketHandler
from mesh.app.mount import Mount
from mesh.app.socket_handler import ConnectInfo
from mesh.gateway.transports.admission import RefusedError, admit


class Room(Channel):
    pass


class Handler(SocketHandler):
    channels = {"room:*": Room}


class Awaits(Handler):
    """Something that it awaits is cancelled."""

    async def connect(self, params, info):
        other = asyncio.create_task(asyncio.sleep(60))
        other.cancel()
        await other


class Raises(Handler):
    def connect(self, params, info):
        raise asyncio.CancelledError


class Hangs(Handler):
    async def connect(self, params, info):
        await asyncio.sleep(3_600)


def asking(handler):
    info = ConnectInfo("websocket")
    return admit(Mount(handler).at("/socket"), info, {"vsn": "2.0.0"})


@pytest.mark.parametrize("handler", [Awaits, Raises])
def test_what_is_cancelled_within_is_an_error_like_any_other(handler):
    async def main():
        with pytest.raises(RefusedError) as refused:
            await asking(handler)
        assert refused.value.status == 500

    asyncio.run(main())


def test_a_handshake_that_is_cancelled_is_cancelled():
    async def main():
        task = asyncio.create_task(asking(Hangs))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
