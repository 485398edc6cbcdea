"""An event loop whose clock jumps: timers fire in order, and nobody waits for them."""

import asyncio


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For code that knows only timers; sockets and threads would never be waited for."""

    def __init__(self):
        super().__init__()
        self._now = 0.0
        select = self._selector.select

        def jump(timeout=None):
            self._now += timeout or 0.0
            return select(0)

        self._selector.select = jump

    def time(self):
        return self._now


def run_virtually(coroutine):
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)
