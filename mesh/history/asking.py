"""Asks the workers that can record a topic: first the one that most likely does, then the next ones.

Any of them answers for the topic, by asking its recorder if it is another one. It takes a while until a
dead worker is known to be dead, so the next one is asked when an answer takes long.
"""

import asyncio
from typing import Protocol

from mesh.bus.discovery.placement import ranked
from mesh.errors import ChannelError, HistoryUnavailableError, NodeGoneError, WireError
from mesh.history.contract import NO_HISTORY, Page, decode_page
from mesh.history.workers import Workers
from mesh.telemetry import Complaints, get_logger

_malformed = Complaints(get_logger(__name__), "answer dropped")

MAX_ASKED = 3
"""The most workers that are asked at the same time."""
LOOK_SECONDS = 0.05
"""While no worker is known, the interval of looking for one."""


class Calls(Protocol):
    """The calls of this node (mesh/bus/calls.py)."""

    async def call(self, node: str, name: str, data: bytes, timeout_seconds: float) -> bytes:
        """Call a node and return its answer. Raises TimeoutError, and NodeGoneError if it has stopped."""


class Asking:
    """One question for the workers of a topic.

    Args:
        calls: the calls of this node.
        workers: finds the workers of a topic.
        topic: the topic.
        name: the name of the call.
        data: its data.
    """

    def __init__(self, calls: Calls, workers: Workers, topic: str, name: str, data: bytes) -> None:
        self._calls = calls
        self._workers = workers
        self._topic = topic
        self._name = name
        self._data = data
        self._asked: set[asyncio.Task[Page | None]] = set()
        self._problems: dict[str, str] = {}
        self._answered = False
        self._no_history = False

    async def answer(self, seconds: float, next_seconds: float) -> Page:
        """Return the first answer that is not empty.

        Args:
            seconds: how long to wait in all.
            next_seconds: how long to wait for a worker before the next one is asked as well.

        Raises:
            HistoryUnavailableError: if there is none.
            ChannelError: if the topic has no history.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            while (left := deadline - loop.time()) > 0:
                asked = self._ask_next(left)
                if not self._asked:
                    if self._answered:
                        break
                    await asyncio.sleep(min(LOOK_SECONDS, left))
                    continue
                page = await self._first_page(min(next_seconds if asked else LOOK_SECONDS, left))
                if page is not None:
                    return page
        finally:
            for task in self._asked:
                task.cancel()
        if self._no_history:
            raise ChannelError(f"topic {self._topic!r} has no history")
        raise self._unavailable(", ".join(self._problems.values()) or "no worker that records it is known")

    def _ask_next(self, seconds: float) -> bool:
        """Ask the next worker; return False if there is none."""
        others = [each for each in self._workers.of(self._topic) if each not in self._problems]
        if not others or len(self._asked) >= MAX_ASKED:
            return False
        (worker,) = ranked(self._topic, others, 1)
        self._problems[worker] = f"no answer from {worker}"
        self._asked.add(asyncio.create_task(self._ask(worker, seconds), name=self._name))
        return True

    async def _first_page(self, seconds: float) -> Page | None:
        """Wait for an answer; return None if there is none, or if it is empty."""
        done, _ = await asyncio.wait(self._asked, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        self._asked -= done
        if any(task.cancelled() for task in done):  # all calls were
            raise self._unavailable("this node stops")
        return next((page for task in done if (page := task.result()) is not None), None)

    def _unavailable(self, reason: str) -> HistoryUnavailableError:
        return HistoryUnavailableError(f"the history of {self._topic!r} is not available: {reason}")

    async def _ask(self, worker: str, seconds: float) -> Page | None:
        """Return the worker's answer; None, and why, in `_problems`, if there is none."""
        try:
            page = decode_page(await self._calls.call(worker, self._name, self._data, seconds))
        except NodeGoneError:
            self._problems[worker] = f"{worker} has stopped"
        except TimeoutError:
            pass
        except WireError as error:
            _malformed.about(worker, "bus_messages_malformed", str(error), call=self._name)
            self._problems[worker] = f"the answer of {worker} cannot be decoded"
        else:
            if page.epoch:
                return page
            self._answered = True
            self._no_history = self._no_history or page == NO_HISTORY
            self._problems[worker] = f"{worker} cannot read it now"
        return None
