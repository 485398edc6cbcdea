"""Joins of a channel server: every one is answered, and none leaves a member behind."""

import asyncio

import pytest

from mesh.link import commands
from mesh.protocol.messages import BINARY, JSON
from tests.support.until import until
from tests.support.virtual_time import run_virtually
from tests.unit.mesh.worker.channel.channel_worker import Patient, scenario


@scenario()
async def test_a_join_that_cannot_be_read_is_refused(worker):
    for mount, topic, assigns in [
        ("/other", "room:1", b"\x80"),
        ("/socket", "nope", b"\x80"),
        ("/socket", "room:1", b"\xc1"),
    ]:
        worker.do(commands.Join(1, mount, topic, "1", None, "websocket", "v2_json", assigns, JSON, b"{}"))
    assert [type(each) for each in worker.sent] == [commands.Refused] * 3


@pytest.mark.parametrize(("data", "seconds"), [(b'{"slow":3}', 1), (b'{"stubborn":true}', 1)])
def test_a_join_that_takes_too_long_is_refused_and_cancelled(data, seconds):
    @scenario(run_virtually, join_timeout_seconds=seconds)
    async def check(worker):
        worker.join(1, "patient:1", data=data)
        worker.join(2, "patient:2")
        await asyncio.sleep(seconds + 0.1)
        refused = await worker.wait(commands.Refused)
        assert (refused.channel, refused.data) == (1, b'{"reason":"join crashed"}')
        assert Patient.heard[-1][0] == "terminate"
        assert "over 1 s (worker.join_timeout_seconds)" in Patient.heard[-1][1]
        assert (await worker.wait(commands.Joined)).channel == 2

    check()


@scenario(run_virtually)
async def test_without_a_join_timeout_a_slow_join_succeeds(worker):
    worker.join(1, "patient:1", data=b'{"slow":3}')
    await asyncio.sleep(3.1)
    assert (await worker.wait(commands.Joined)).channel == 1


@scenario()
async def test_a_join_that_ends_after_its_client_has_gone_leaves_no_member(worker):
    worker.join(1, "patient:1", data=b'{"stubborn":true}')
    await until(lambda: Patient.heard)
    worker.do(commands.SocketDown([1], "closed"))
    await until(lambda: ("terminate", "closed") in Patient.heard)
    assert worker.sent == []
    assert len(worker.channels.members) == 0


@scenario()
async def test_a_join_that_awaits_a_cancelled_task_is_answered(worker):
    worker.join(1, "fragile:1", data=b'{"join":true}')
    await until(lambda: worker.sent)
    assert type(worker.sent[0]) in (commands.Crashed, commands.Refused)


@scenario()
async def test_a_refused_join_ends_with_terminate(worker):
    worker.join(topic="patient:1", data=b'{"refuse":true}')
    assert (await worker.wait(commands.Refused)).data == b'{"reason":"no"}'
    await until(lambda: Patient.heard[-1] == ("terminate", "shutdown"))


@scenario()
async def test_a_join_accepts_any_payload(worker):
    worker.join(1, "patient:1", data=b"[1,null]")
    worker.join(2, "patient:2", BINARY, b"\xff\x00")
    await worker.wait(commands.Joined, 2)
    assert Patient.heard == [("join", [1, None]), ("join", b"\xff\x00")]
