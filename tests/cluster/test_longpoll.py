"""Long-poll sessions through whichever gateway a balancer picks."""

import asyncio
import json
import os
import signal

from tests.support.http import broadcast
from tests.support.longpoll import LongPoll, LongPollClient, http
from tests.support.websocket import PhoenixClient, open_connection, run


def test_every_request_may_come_to_another_gateway(running):
    async def scenario():
        client = LongPollClient(await LongPoll(running.urls).open())
        watcher = await PhoenixClient.connect(running.urls[0])
        await watcher.join("room:relay")
        assert await client.join("room:relay") == ("ok", {"topic": "room:relay"})
        for number in range(20):
            assert await client.push("room:relay", "echo", {"n": number}) == ("ok", {"n": number})
        for number in range(20):
            watcher.cast("room:relay", "new_msg", {"n": number})
        got = [(await client.event("new_msg"))[4]["n"] for _ in range(20)]
        assert got == list(range(20))

    run(scenario())


def test_a_relayed_poll_whose_client_hung_up_loses_nothing(running):
    async def scenario():
        session = await LongPoll([running.urls[0]]).open()
        join = json.dumps(["1", "1", "room:hung", "phx_join", {}])
        assert await session.post(join) == {"status": 200}
        await session.poll()
        session.bases = [running.urls[1]]
        for number in range(5):
            host, port = running.urls[1].removeprefix("http://").split(":")
            _, writer = await open_connection(host, int(port))
            writer.write(f"GET {session.path()} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            await writer.drain()
            await http(running.urls[1], "GET", "/unknown")  # it has seen the poll
            writer.transport.abort()
            await http(running.urls[1], "GET", "/unknown")
            await http(running.urls[0], "GET", "/unknown")
            await asyncio.to_thread(broadcast, running.urls[0], "room:hung", "new_msg", {"n": number})
            got = []
            while not got:
                status, got = await session.poll()
                assert status in (200, 204)
            assert [message[4]["n"] for message in got] == [number]

    run(scenario())


def test_when_the_holder_is_frozen_or_dead_the_session_is_gone_in_bounded_time(running):
    async def scenario():
        for number in (signal.SIGSTOP, signal.SIGKILL):
            session = await LongPoll([running.urls[0]]).open()
            session.bases = [running.urls[1]]
            pid = running.kill("gateways", 0, number)
            try:
                assert await session.post("[]") == {"status": 410}
                answer = (await session.get()).json
                assert answer["status"] == 410
                assert answer["token"] != session.token
            finally:
                if number == signal.SIGSTOP:
                    os.kill(pid, signal.SIGCONT)

    run(scenario())


def test_a_gateway_that_stops_ends_its_sessions_and_begins_none(running):
    async def scenario():
        session = await LongPoll([running.urls[0]]).open()
        poll = asyncio.create_task(session.get())
        await http(running.urls[0], "GET", "/unknown")
        running.kill("gateways", 0, signal.SIGTERM)
        answer = (await poll).json
        assert answer == {"status": 500}, "phoenix.js comes again, elsewhere"
        session.bases = [running.urls[1]]
        assert (await session.get()).json["status"] == 410

    run(scenario())
