"""mesh/zeromq/name_resolution.py: whatever is asked for, there is an answer."""

import asyncio
import threading

import pytest

from mesh.bus.zeromq.proxy_names import FIRST_RETRY_SECONDS, ProxyNames
from mesh.zeromq.name_resolution import look_up


@pytest.mark.parametrize(
    "address",
    [
        "tcp://name.invalid:5000",
        "tcp://127.0.0.1.x:99999999999999999999999999",
        "tcp://a\0b:1",
        "tcp://" + 300 * "x" + ":1",
        "tcp://a..b:1",
        "tcp://é\ud800:1",
        "tcp://name:port",
        "tcp://:",
    ],
)
def test_what_cannot_be_looked_up_is_an_error_that_is_told(address):
    async def main():
        answered = asyncio.get_running_loop().create_future()
        look_up(address, answered.set_result)
        return await asyncio.wait_for(answered, 120)

    assert isinstance(asyncio.run(main()), OSError)


def test_a_name_is_looked_up_again_after_there_was_no_thread_for_it(monkeypatch):
    tries = []

    def start(thread):
        tries.append(thread)
        raise RuntimeError("can't start new thread")

    async def main():
        monkeypatch.setattr(threading.Thread, "start", start)
        names = ProxyNames(["tcp://name.invalid:1"], 60.0, lambda: False, lambda: None)
        names.start()
        while len(tries) < 3:
            await asyncio.sleep(FIRST_RETRY_SECONDS)
        assert names.problems == {"tcp://name.invalid:1": "can't start new thread"}
        names.close()

    asyncio.run(asyncio.wait_for(main(), 120))
