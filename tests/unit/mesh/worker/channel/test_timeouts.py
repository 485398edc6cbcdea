"""`self.timeout` and delayed messages of a channel, in virtual time."""

import asyncio

import pytest

from mesh import TIMEOUT
from mesh.link import commands
from tests.support.virtual_time import run_virtually
from tests.unit.mesh.worker.channel.channel_worker import Patient, scenario


@scenario(run_virtually)
async def test_a_timeout_fires_once_counted_from_the_end_of_the_callback(worker):
    worker.join(topic="patient:1")
    worker.push("wait", b'{"seconds":10}')
    await asyncio.sleep(9.9)
    assert TIMEOUT not in Patient.heard
    await asyncio.sleep(100)
    assert Patient.heard[1:] == [TIMEOUT]
    worker.push("wait_and_go_on", b'{"seconds":10}')  # the timeout starts when the callback ends
    await asyncio.sleep(29.9)
    assert Patient.heard[1:] == [TIMEOUT]
    await asyncio.sleep(0.2)
    assert Patient.heard[1:] == [TIMEOUT, TIMEOUT]


@scenario(run_virtually)
async def test_any_message_cancels_a_timeout(worker):
    worker.join(topic="patient:1")
    worker.push("wait", b'{"seconds":10}')
    await asyncio.sleep(9.9)
    worker.push("echo")
    await asyncio.sleep(100)
    worker.push("wait", b'{"seconds":10}')
    worker.push("tell", b'{"what":"wait again"}')
    await asyncio.sleep(1.1)
    assert Patient.heard[1:] == ["wait again", TIMEOUT]
    worker.push("wait", b'{"seconds":10}')
    worker.push("end", b'{"reason":"normal"}')
    await asyncio.sleep(100)
    assert Patient.heard[3:] == [("terminate", "normal")]


@pytest.mark.parametrize("seconds", [b"-1", b'"1"', b"null"])
def test_an_invalid_timeout_crashes_the_channel(seconds):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("wait", b'{"seconds":' + seconds + b"}")
        await worker.wait(commands.Crashed)
        assert "want a number of seconds" in Patient.heard[-1][1]

    check()


@pytest.mark.parametrize("seconds", [b'"nan"', b'"inf"'])
def test_an_invalid_delay_crashes_the_channel(seconds):
    @scenario()
    async def check(worker):
        worker.join(topic="patient:1")
        worker.push("later", b'{"seconds":' + seconds + b"}")
        await worker.wait(commands.Crashed)

    check()
