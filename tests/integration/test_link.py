"""A link over real sockets."""

import asyncio
import socket
import time

import msgspec
import pytest
import zmq

from mesh import settings
from mesh.link import commands
from mesh.link.dealer import Dealer
from mesh.link.handlers import DealerHandlers
from tests.integration.link_peers import LINK, FakeWorker
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


@pytest.mark.parametrize("order", [1, -1])
def test_a_worker_whose_name_has_a_dead_address_too_is_linked_by_one_of_the_next_links(monkeypatch, order):
    """127.0.0.0 refuses at once; the name stands for it and for the worker, in either order."""
    real = socket.getaddrinfo

    def found(host, port, *more, **options):
        if host != "worker.mesh.test":
            return real(host, port, *more, **options)
        both = ["127.0.0.0", "127.0.0.1"][::order]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in both]

    monkeypatch.setattr(socket, "getaddrinfo", found)

    async def tried(context, worker):
        """Whether one link comes up."""
        up, down = [], []
        port = worker.address.rpartition(":")[2]
        address = f"tcp://worker.mesh.test:{port}"
        handlers = DealerHandlers(
            on_up=up.append,
            on_command=lambda *_: None,
            on_malformed=lambda *_: None,
            on_down=lambda *why: down.append(why),
            on_incompatible=down.append,
            on_behind=lambda *_: None,
        )
        dealer = Dealer(context, LINK, "gateway", "w", address, None, handlers)
        await until(lambda: down or worker.router.poll(0))
        if not down:
            await worker.welcome()
            await until(lambda: up)
        dealer.close()
        return bool(up)

    async def scenario():
        with zmq.Context() as context:
            worker = FakeWorker(context)
            try:
                for _ in range(30):
                    if await tried(context, worker):
                        return
                raise AssertionError("every link took the dead address")
            finally:
                worker.router.close(0)

    asyncio.run(scenario())
