"""`restore` on the next worker: it may fail, never end, or outlive its client."""

import pytest

from mesh.link import commands
from mesh.settings import WorkerSettings
from tests.support.until import until
from tests.unit.mesh.worker.handoff.moving_workers import LINK, Mover, move, scenario


@scenario
async def test_a_client_that_disconnects_during_restore_ends_its_channel_after_it(old, new):
    old.push("n", n=1)
    old.push("do", slow_restore=0.01)
    new.restore(await move(old))
    new.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert Mover.ended == [("closed", [1])]
    assert new.channels.live() == []


@scenario
async def test_a_restore_that_starts_before_the_disconnect_is_handled_is_cancelled(old, new):
    new.channels.settings = WorkerSettings(kill_seconds=0.1)
    old.push("do", slow_restore=60)
    new.restore(await move(old))
    new.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert new.channels.live() == []


@scenario
async def test_a_restore_under_way_at_the_disconnect_is_cancelled(old, new):
    new.channels.settings = WorkerSettings(kill_seconds=0.1)
    old.push("do", slow_restore=60)
    new.restore(await move(old))
    server = new.channels.server(LINK, 1)
    await until(lambda: server.task is not None)
    new.do(commands.SocketDown([1], "closed"))
    await until(lambda: Mover.ended)
    assert new.channels.live() == []


@pytest.mark.parametrize("how", ["bad_restore", "wrong_restore"])
def test_a_restore_that_fails_crashes_the_channel(how):
    @scenario
    async def run(old, new):
        old.push("do", **{how: True})
        new.restore(await move(old))
        await new.wait(commands.Crashed)
        assert commands.Joined not in new.kinds()
        assert new.channels.live() == []

    run()


@scenario
async def test_a_malformed_handoff_state_crashes_the_channel(old, new):
    new.restore(commands.Moved(1, 0, b"\x80", b"junk"))
    await new.wait(commands.Crashed)
