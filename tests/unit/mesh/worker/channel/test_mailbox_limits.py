"""A full mailbox: at the mark its client is paused, at the limit its channel ends."""

import asyncio

from mesh import Broadcast
from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.link import commands
from mesh.protocol.messages import JSON
from mesh.telemetry import counters
from tests.support.until import until
from tests.unit.mesh.worker.channel.channel_worker import LINK, Patient, Room, scenario


def pause_requests(worker):
    """The requests to pause and resume pushes that the worker has sent."""
    return [
        type(each) for each in worker.sent if type(each) in (commands.PushesPaused, commands.PushesResumed)
    ]


@scenario(max_mailbox_messages=10)
async def test_an_overflowing_mailbox_ends_only_its_channel(worker):
    before = counters.value("mailboxes_overflowed")
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    worker.push("hang")
    await asyncio.sleep(0)
    for _ in range(20):
        worker.push("echo")
    assert (await worker.wait(commands.Crashed)).channel == 1
    worker.push("echo", number=2)
    assert (await worker.wait(commands.Reply)).channel == 2
    assert counters.value("mailboxes_overflowed") == before + 1


@scenario(max_mailbox_messages=10)
async def test_a_channel_that_floods_itself_ends_and_others_continue(worker):
    worker.join(1)
    worker.join(2)
    worker.push("flood", b'{"count":50}')
    assert (await worker.wait(commands.Crashed)).channel == 1
    for number in range(3):
        worker.push("echo", number=2, ref=str(number))
    await worker.wait(commands.Reply, 3)


@scenario(pause_mailbox_messages=10)
async def test_a_full_mailbox_pauses_its_client_until_half_of_it_is_left(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("wait")
    await until(lambda: Room.gate is not None)
    for number in range(10):
        worker.push("echo", ref=str(number))
    assert pause_requests(worker) == []
    worker.push("echo", ref="10")
    worker.push("echo", ref="11")
    assert pause_requests(worker) == [commands.PushesPaused]
    Room.gate.set()
    await worker.wait(commands.Reply, 12)
    assert pause_requests(worker) == [commands.PushesPaused, commands.PushesResumed]
    replies = [each for each in worker.sent if isinstance(each, (commands.Reply, commands.PushesResumed))]
    assert replies.index(commands.PushesResumed(1)) == 7


@scenario(pause_mailbox_bytes=1_000)
async def test_large_messages_pause_the_client_by_their_bytes(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("wait")
    await until(lambda: Room.gate is not None)
    for _ in range(3):
        worker.push("echo", b'["' + b"x" * 400 + b'"]')
    assert pause_requests(worker) == [commands.PushesPaused]
    assert worker.channels.waiting_bytes() > 1_000
    Room.gate.set()
    await worker.wait(commands.PushesResumed)
    await worker.wait(commands.Reply, 3)
    assert worker.channels.waiting_bytes() == 0


@scenario(max_mailbox_bytes=2_000)
async def test_a_mailbox_over_its_byte_limit_ends_the_channel(worker):
    before = counters.value("mailboxes_overflowed")
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("hang")
    await asyncio.sleep(0)
    for _ in range(6):
        worker.push("echo", b'["' + b"x" * 400 + b'"]')
    await worker.wait(commands.Crashed)
    assert counters.value("mailboxes_overflowed") == before + 1


@scenario(pause_mailbox_bytes=1_000)
async def test_subscribed_broadcasts_count_toward_the_mailbox_bytes(worker):
    def broadcast(size):
        header = Header(VERSION, BROADCAST, "w", 9, "news", JSON)
        worker.channels.members.broadcast("t", header, b'{"n":"' + b"x" * size + b'"}')

    worker.join(topic="patient:1")
    worker.push("listen", b'{"topic":"t"}')
    await worker.wait(commands.Reply)
    worker.push("wait_and_go_on", b'{"seconds":0.01}')
    await until(lambda: worker.channels.waiting() == 0)
    for _ in range(3):
        broadcast(400)
    assert pause_requests(worker) == [commands.PushesPaused]
    assert worker.channels.waiting_bytes() > 1_200
    await worker.wait(commands.PushesResumed)
    await until(lambda: len(Patient.heard) == 4)
    assert Patient.heard[1:] == [Broadcast("t", "news", {"n": "x" * 400})] * 3
    assert worker.channels.waiting_bytes() == 0


@scenario(max_mailbox_bytes=2_000)
async def test_subscribed_broadcasts_over_the_byte_limit_end_only_that_channel(worker):
    for number in (1, 2):
        worker.join(number, f"patient:{number}")
        worker.push("listen", b'{"topic":"t"}', number=number)
    await worker.wait(commands.Reply, 2)
    worker.push("wait_and_go_on", b'{"seconds":60}')
    await until(lambda: worker.channels.waiting() == 0)
    header = Header(VERSION, BROADCAST, "w", 9, "news", JSON)
    for _ in range(6):
        worker.channels.members.broadcast("t", header, b'{"n":"' + b"x" * 400 + b'"}')
        await until(lambda: worker.channels.server(LINK, 2).mailbox.waiting == 0)
    assert (await worker.wait(commands.Crashed)).channel == 1
    assert worker.channels.server(LINK, 2).status == "joined"


@scenario(link_version=1, pause_mailbox_messages=2)
async def test_a_gateway_with_link_version_1_is_not_asked_to_pause(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.push("wait")
    await until(lambda: Room.gate is not None)
    for number in range(6):
        worker.push("echo", ref=str(number))
    Room.gate.set()
    await worker.wait(commands.Reply, 6)
    assert pause_requests(worker) == []
