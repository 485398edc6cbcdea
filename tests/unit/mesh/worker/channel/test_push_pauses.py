"""Topics and links whose pushes wait."""

import asyncio

from mesh.bus.frames import BROADCAST, VERSION, Header
from mesh.link import commands
from mesh.protocol.messages import JSON
from tests.support.until import until
from tests.unit.mesh.worker.channel.channel_worker import LINK, Room, scenario


@scenario()
async def test_a_paused_topic_holds_its_pushes_and_nothing_else(worker):
    worker.join(1)
    worker.join(2, "room:2")
    await worker.wait(commands.Joined, 2)
    worker.do(commands.TopicPaused("room:1"))
    worker.join(3)  # joined during the pause: held, too
    await worker.wait(commands.Joined, 3)
    for number in range(3):
        worker.push("echo", ref=str(number))
    worker.push("echo", number=3, ref="3")
    worker.push("echo", number=2, ref="other")
    assert (await worker.wait(commands.Reply)).ref == "other"
    header = Header(VERSION, BROADCAST, "w", 9, "secret", JSON)
    worker.channels.members.broadcast("room:1", header, b"{}")
    await worker.wait(commands.Pushed, 2)
    assert worker.channels.waiting() == 4
    worker.do(commands.TopicResumed("room:1"))
    await worker.wait(commands.Reply, 5)
    replies = [(each.channel, each.ref) for each in worker.sent if isinstance(each, commands.Reply)]
    assert [ref for channel, ref in replies if channel == 1] == ["0", "1", "2"]
    assert (3, "3") in replies


@scenario()
async def test_a_leave_is_handled_after_the_pushes_held_by_a_pause(worker):
    worker.join(1)
    worker.join(2)
    await worker.wait(commands.Joined, 2)
    worker.do(commands.TopicPaused("room:1"))
    for number in (1, 2):
        worker.push("both", number=number, ref="a")
        worker.push("both", number=number, ref="b")
    worker.do(commands.Leave(1, "leave"))
    worker.do(commands.SocketDown([2], "closed"))
    await worker.wait(commands.Closed)
    assert [each.ref for each in worker.sent if isinstance(each, commands.Reply)] == ["a", "b", "leave"]
    await until(lambda: sorted(Room.ended) == ["closed", "left"])
    assert len(worker.bus.published) == 4


@scenario()
async def test_a_topic_pause_ends_when_its_gateway_goes_down(worker):
    other = b"another gateway"
    worker.channels.gateway_up(other, "h")
    worker.join()
    await worker.wait(commands.Joined)
    worker.channels.handle(other, commands.TopicPaused("room:1"))
    worker.do(commands.TopicPaused("room:1"))
    worker.push("echo")
    worker.do(commands.TopicResumed("room:1"))
    await asyncio.sleep(0)
    assert worker.channels.waiting() == 1
    worker.channels.gateway_down(other)
    await worker.wait(commands.Reply)


@scenario()
async def test_the_channels_of_a_slow_gateway_handle_no_pushes(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.channels.pause_link(LINK, True)
    worker.push("echo")
    await until(lambda: not worker.channels.runners.active)
    assert not any(isinstance(each, commands.Reply) for each in worker.sent)
    worker.channels.pause_link(LINK, False)
    await worker.wait(commands.Reply)


@scenario(max_mailbox_messages=10)
async def test_pushes_held_for_a_paused_topic_are_bounded(worker):
    worker.join()
    await worker.wait(commands.Joined)
    worker.do(commands.TopicPaused("room:1"))
    for number in range(20):
        worker.push("echo", ref=str(number))
        await until(lambda: not worker.channels.runners.active)
    await worker.wait(commands.Crashed)
