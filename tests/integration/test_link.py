"""A link over real sockets."""

import asyncio
import time

import msgspec
import zmq

from mesh import settings
from mesh.link import commands
from mesh.link.dealer import Dealer
from mesh.link.handlers import DealerHandlers
from tests.support.until import until


def test_the_last_words_of_a_worker_are_heard_by_a_busy_gateway():
    async def scenario():
        heard, down = [], []
        patient = {"heartbeat_seconds": 60, "heartbeat_timeout_seconds": 60}
        with zmq.Context() as ours, zmq.Context() as theirs:
            router = theirs.socket(zmq.ROUTER)
            router.bind("tcp://127.0.0.1:*")
            dealer = Dealer(
                ours,
                settings.load(flags={"link": patient}).link,
                "gateway",
                "worker",
                router.getsockopt_string(zmq.LAST_ENDPOINT),
                None,
                DealerHandlers(
                    on_up=lambda worker: None,
                    on_command=lambda worker, command: heard.append(command),
                    on_malformed=lambda worker, command: heard.append(command),
                    on_down=lambda worker, end, reason: down.append(end),
                    on_incompatible=down.append,
                    on_behind=lambda *_: None,
                ),
            )

            def say(command):
                router.send_multipart([link, msgspec.msgpack.encode([command])])

            await until(lambda: router.poll(0))
            link, _ = router.recv_multipart()
            say(commands.Welcome(commands.SPOKEN.newest, "worker"))
            await until(lambda: dealer.up)
            for channel in range(50):
                say(commands.Crashed(channel, 0))
            router.close(10_000)
            theirs.term()  # returns when all is sent
            time.sleep(0.1)  # the gateway is busy meanwhile
            assert not heard
            await until(lambda: down)
            assert [command.channel for command in heard] == list(range(50))

    asyncio.run(scenario())
