"""Keeps child processes alive: restarts with back-off, prefixes their output, stops them in order."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text

FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 5.0
STABLE_SECONDS = 10.0
"""A child that lived this long starts again without delay from the past."""
STOP_SECONDS = 10.0
"""From SIGTERM to SIGKILL."""
WRONG_USAGE = 2
"""A child with this exit code would fail again and again: its settings or the application are wrong."""
LINE_BYTES = 1_000_000

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """One process to keep alive.

    Attributes:
        name: "gateway.1".
        command: makes the argument list, anew for each start.
        environment: makes the variables that are added to ours, anew for each start.
        stop_rank: children of a lower rank are stopped first.
        started: set when it was started, again.
    """

    name: str
    command: Callable[[], list[str]]
    environment: Callable[[], dict[str, str]] = field(default=dict)
    stop_rank: int = 0
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """Runs children until it is told to stop, or one of them says that it never can run.

    Args:
        children: in the order they are started.
        changed: called whenever a child was started.
        stop_seconds: that a child may take to stop, then it is killed.
    """

    def __init__(
        self,
        children: list[Child],
        changed: Callable[[], None] = lambda: None,
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self.children = children
        self.exit_code = 0
        self._changed = changed
        self._stop_seconds = stop_seconds
        self._stopping = asyncio.Event()
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def stop(self) -> None:
        """End `run`: stop all children in order."""
        self._stopping.set()

    async def roll(self, whole: Callable[[], Awaitable[None]]) -> None:
        """Restart every child, one by one, the last to be stopped first.

        `whole` returns when everything works again; if it raises, the rest is left as it is.
        """
        for child in sorted(self.children, key=lambda each: -each.stop_rank):
            await whole()
            process = child.process
            if process is None or process.returncode is not None or self._stopping.is_set():
                continue  # it is being restarted anyway
            self._say(child, "rolling restart")
            child.started.clear()
            await self._end(child, process)
            await child.started.wait()
        await whole()

    async def run(self) -> int:
        """Start and restart; returns the exit code for the supervisor itself."""
        keepers = [asyncio.create_task(self._keep(child), name=child.name) for child in self.children]
        try:
            await self._stopping.wait()
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._stop_all()
        return self.exit_code

    async def _keep(self, child: Child) -> None:
        delay = FIRST_DELAY_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            born = loop.time()
            code = await self._run_once(child)
            if code == WRONG_USAGE:
                self._say(child, "cannot run; stopping everything")
                self.exit_code = code
                self.stop()
                return
            if loop.time() - born > STABLE_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self._say(child, f"{_how_it_ended(code)}; restarting in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_DELAY_SECONDS)

    async def _run_once(self, child: Child) -> int:
        child.process = process = await asyncio.create_subprocess_exec(
            *child.command(),
            env={**os.environ, **child.environment()},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LINE_BYTES,
            start_new_session=True,  # Ctrl-C reaches the supervisor only, which stops in order
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        child.starts += 1
        child.started.set()
        self._say(child, f"started, pid {process.pid}")
        self._changed()
        await self._print(child, process)
        return await process.wait()

    async def _print(self, child: Child, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line over the limit; the rest of it follows as another
                continue
            if not line:
                return
            self._say(child, line.decode(errors="replace").rstrip("\n"))

    def _say(self, child: Child, line: str) -> None:
        colour = _COLOURS[self.children.index(child) % len(_COLOURS)]
        width = max(len(each.name) for each in self.children)
        prefix = Text(f"{child.name:<{width}} │ ", colour)
        self._console.print(Text.assemble(prefix, Text.from_ansi(line)))

    async def _stop_all(self) -> None:
        for rank in sorted({child.stop_rank for child in self.children}):
            await asyncio.gather(*(self._stop(each) for each in self.children if each.stop_rank == rank))

    async def _stop(self, child: Child) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        printing = asyncio.create_task(self._print(child, process))
        await self._end(child, process)
        await printing

    async def _end(self, child: Child, process: asyncio.subprocess.Process) -> None:
        """SIGTERM, then SIGKILL; returns when it has ended."""
        process.terminate()
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            self._say(child, f"did not stop within {self._stop_seconds:g} s; killed")
            process.kill()
            await process.wait()


def _how_it_ended(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _die_with_parent() -> None:
    """In the child: be killed when the supervisor is, however that happens (Linux prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
