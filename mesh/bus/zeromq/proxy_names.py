"""The addresses that the names of proxies resolve to, as DNS changes.

Names are looked up at the start, at once when a proxy is lost, repeatedly while a proxy is missing, and
every `bus.resolve_seconds` otherwise. An answer replaces the previous one of its name; if a look-up fails,
the previous answer remains valid. Only one look-up of a name is in progress at a time.
"""

import asyncio
from collections.abc import Callable, Sequence

from mesh.telemetry import get_logger
from mesh.zeromq.name_resolution import LOOK_UP_SECONDS, Answer, literal_address, look_up

log = get_logger(__name__)

FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 1.0
"""Shorter than nodes wait for each other when a proxy is back (`bus.listeners_seconds`)."""


class ProxyNames:
    """The configured addresses of the proxies, and what they resolve to.

    Args:
        configured: the addresses, with or without names.
        seconds: the interval of look-ups while every proxy is connected.
        all_connected: returns whether every proxy is connected.
        on_answer: called after each look-up.

    Attributes:
        addresses: the resolved addresses, in the configured order, without duplicates.
        problems: by configured address, why its name cannot be resolved; empty if all can.
    """

    def __init__(
        self,
        configured: Sequence[str],
        seconds: float,
        all_connected: Callable[[], bool],
        on_answer: Callable[[], None],
    ) -> None:
        self.problems: dict[str, str] = {}
        self._seconds = seconds
        self._all_connected = all_connected
        self._on_answer = on_answer
        self._answers = {each: _literal_addresses(each) for each in configured}
        self._names = [each for each in configured if literal_address(each) is None]
        self._pending: dict[str, asyncio.TimerHandle] = {}
        self._delay = FIRST_RETRY_SECONDS
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def addresses(self) -> list[str]:
        """The addresses that are known."""
        return list(dict.fromkeys(each for answer in self._answers.values() for each in answer))

    def start(self) -> None:
        """Begin to look up names."""
        if self._names:
            self._look_up()

    def close(self) -> None:
        """Stop looking up names."""
        self._closed = True
        for timer in (self._timer, *self._pending.values()):
            if timer is not None:
                timer.cancel()

    def look_up_now(self) -> None:
        """A proxy was lost: look up names now, unless that is done frequently already."""
        if self._timer is not None and self._delay > LAST_RETRY_SECONDS:
            self._delay = FIRST_RETRY_SECONDS
            self._timer.cancel()
            self._look_up()

    def _look_up(self) -> None:
        loop = asyncio.get_running_loop()
        for name in self._names:
            if name not in self._pending:
                self._pending[name] = loop.call_later(LOOK_UP_SECONDS, self._failed, name, "no answer")
                look_up(name, lambda answer, name=name: self._answered(name, answer))  # type: ignore[misc]
        delay = min(self._delay, LAST_RETRY_SECONDS)
        self._timer = loop.call_later(delay, self._look_up)
        self._delay = min(2 * delay, LAST_RETRY_SECONDS)

    def _answered(self, name: str, answer: Answer) -> None:
        if self._closed:
            return
        self._pending.pop(name).cancel()
        if isinstance(answer, OSError):
            self._failed(name, answer.strerror or str(answer))
        else:
            self.problems.pop(name, None)
            if answer != self._answers[name]:
                log.info("the name of a proxy has new addresses", name=name, addresses=answer)
                self._answers[name] = answer
        self._on_answer()
        self._slow_down()

    def _slow_down(self) -> None:
        if not self.problems and self._all_connected() and self._timer is not None:
            self._timer.cancel()
            self._delay = self._seconds
            self._timer = asyncio.get_running_loop().call_later(self._delay, self._look_up)

    def _failed(self, name: str, reason: str) -> None:
        if self.problems.get(name) != reason:
            self.problems[name] = reason
            log.warning("the name of a proxy cannot be looked up", name=name, reason=reason)


def _literal_addresses(address: str) -> list[str]:
    literal = literal_address(address)
    return [] if literal is None else [literal]
