"""Keeps child processes running: restarts them with back-off, passes on their output, stops them in order.

Nothing here waits for the reader of our own output: lines are queued, or dropped and counted.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mesh.nodes.cluster.child_lines import ChildLines
from mesh.nodes.cluster.child_output import ChildOutput
from mesh.nodes.runtime.signals import SUPERVISED, die_with_parent
from mesh.telemetry import output

FIRST_DELAY_SECONDS = 0.1
LAST_DELAY_SECONDS = 5.0
STABLE_SECONDS = 10.0
"""A child that ran this long is restarted after the first delay again."""
STOP_SECONDS = 10.0
"""From SIGTERM to SIGKILL."""
USAGE_ERROR = 2
"""A child with this exit code would always fail: its settings or the application are wrong."""


@dataclass
class Child:
    """One process to keep running.

    Attributes:
        name: for example "gateway.1".
        command: returns the argument list for each start.
        environment: returns the variables that are added to ours for each start.
        stop_rank: children of a lower rank are stopped first.
        started: set when the process has been started or restarted.
    """

    name: str
    command: Callable[[], list[str]]
    environment: Callable[[], dict[str, str]] = field(default=dict)
    stop_rank: int = 0
    process: asyncio.subprocess.Process | None = None
    starts: int = 0
    started: asyncio.Event = field(default_factory=asyncio.Event)
    output: ChildOutput | None = None

    @property
    def pid(self) -> int | None:
        """The process id, or None if it is not running."""
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """Runs children until `stop` is called, or until one of them ends with USAGE_ERROR.

    Args:
        children: in the order in which they are started.
        on_started: called whenever a child was started, if given.
        stop_seconds: how long a child may take to stop before it is killed.
        format: the format of our output: "console", "json" or "logfmt".
    """

    def __init__(
        self,
        children: list[Child],
        on_started: Callable[[], None] | None = None,
        stop_seconds: float = STOP_SECONDS,
        format: str = "console",
    ) -> None:
        self.children = children
        self.exit_code = 0
        self._on_started = on_started
        self._stop_seconds = stop_seconds
        self._stopping = asyncio.Event()
        self._killing = False
        self._lines = ChildLines([child.name for child in children], format)

    def stop(self) -> None:
        """End `run`: stop all children in order."""
        self._stopping.set()

    def kill(self) -> None:
        """End `run` at once: kill all children."""
        self._killing = True
        self._stopping.set()
        for child in self.children:
            if child.process is not None:
                _send_signal(child.process, signal.SIGKILL)

    async def rolling_restart(self, wait_until_ready: Callable[[], Awaitable[None]]) -> None:
        """Restart every child, one by one, those with the highest `stop_rank` first.

        `wait_until_ready` must return when everything works again; if it raises, the other children are not
        restarted.
        """
        for child in sorted(self.children, key=lambda each: -each.stop_rank):
            await wait_until_ready()
            process = child.process
            if process is None or process.returncode is not None or self._stopping.is_set():
                continue  # it is being restarted anyway
            self._report(child, "rolling restart")
            child.started.clear()
            await self._terminate(child, process)
            await child.started.wait()
        await wait_until_ready()

    async def run(self) -> int:
        """Start and restart the children; return the exit code for the supervisor itself."""
        tasks = [asyncio.create_task(self._keep_running(child), name=child.name) for child in self.children]
        try:
            await self._stopping.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stop_all()
            for child in self.children:
                if child.output is not None:
                    child.output.close()
            await asyncio.to_thread(output.flush)
        return self.exit_code

    async def _keep_running(self, child: Child) -> None:
        delay = FIRST_DELAY_SECONDS
        loop = asyncio.get_running_loop()
        while True:
            started_at = loop.time()
            try:
                code = await self._run_once(child)
            except Exception as error:  # e.g. no memory or descriptor left, which may change
                what = f"cannot be started: {error}"
            else:
                what = _describe_exit(code)
                if code == USAGE_ERROR:
                    self._report(child, "cannot run; stopping everything")
                    self.exit_code = code
                    self.stop()
                    return
            if loop.time() - started_at > STABLE_SECONDS:
                delay = FIRST_DELAY_SECONDS
            self._report(child, f"{what}; restarting in {delay:g} s")
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_DELAY_SECONDS)

    async def _run_once(self, child: Child) -> int:
        if child.output is not None:
            child.output.close()
        child.output = pipe = ChildOutput(lambda line: self._lines.write_line(child.name, line))
        try:
            child.process = process = await asyncio.create_subprocess_exec(
                *child.command(),
                env={**os.environ, **child.environment(), SUPERVISED: str(os.getpid())},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe.writer,
                stderr=pipe.writer,
                start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops them in order
                preexec_fn=die_with_parent if sys.platform == "linux" else None,
            )
        finally:
            pipe.close_writer()
        child.starts += 1
        child.started.set()
        self._report(child, f"started, pid {process.pid}")
        if self._on_started is not None:
            self._on_started()
        code = await process.wait()
        pipe.drain()
        return code

    def _report(self, child: Child, sentence: str) -> None:
        self._lines.write_event(child.name, sentence)

    async def _stop_all(self) -> None:
        for rank in sorted({child.stop_rank for child in self.children}):
            await asyncio.gather(*(self._stop(each) for each in self.children if each.stop_rank == rank))

    async def _stop(self, child: Child) -> None:
        process = child.process
        if process is None or process.returncode is not None:
            return
        await self._terminate(child, process)
        if child.output is not None:
            child.output.drain()

    async def _terminate(self, child: Child, process: asyncio.subprocess.Process) -> None:
        """Send SIGTERM, later SIGKILL; return when the process has ended."""
        _send_signal(process, signal.SIGKILL if self._killing else signal.SIGTERM)
        try:
            async with asyncio.timeout(self._stop_seconds):
                await process.wait()
        except TimeoutError:
            self._report(child, f"did not stop within {self._stop_seconds:g} s; killed")
            _send_signal(process, signal.SIGKILL)
            await process.wait()


def _send_signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal, unless the process has ended.

    `Process.send_signal` calls `Popen.poll`, which takes the exit code of a process that has just ended
    from asyncio's child watcher; the watcher then reports 255.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(process.pid, number)


def _describe_exit(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:  # most real-time signals have no name
            name = f"signal {-code}"
        return f"was killed by {name}"
    return f"ended with exit code {code}"
