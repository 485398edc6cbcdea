"""A well-behaved client, which pushes, receives its own broadcasts and measures the delays."""

import asyncio
import time

from mesh.client import ClientChannel

ANSWER_SECONDS = 60.0


class Bystander:
    """A client that must not notice what other clients do.

    Args:
        name: its name in messages.
        room: a joined channel that answers `echo` and broadcasts `new_msg`.
        answer_seconds: the time-out of an answer, after which the program exits.

    Attributes:
        worst: the longest time that a push and its broadcast took, in seconds.
        pushes: the number of pushes.
    """

    def __init__(self, name: str, room: ClientChannel, answer_seconds: float = ANSWER_SECONDS) -> None:
        self.name = name
        self.worst = 0.0
        self.pushes = 0
        self._room = room
        self._answer_seconds = answer_seconds
        self._received = asyncio.Event()
        self._expected = ""
        room.on("new_msg", self._on_message)

    def _on_message(self, payload: dict[str, str]) -> None:
        if payload.get("n") == self._expected:
            self._received.set()

    async def push_and_wait(self) -> None:
        """Push, and wait for the reply and for a broadcast; exit if one of them does not arrive."""
        self.pushes += 1
        started = time.monotonic()
        self._expected = f"{self.name} {self.pushes}"
        self._received.clear()
        try:
            async with asyncio.timeout(self._answer_seconds):
                answer = await self._room.push("echo", {"n": self.pushes})
                await self._room.cast("new_msg", {"n": self._expected})
                await self._received.wait()
        except TimeoutError:
            message = f"bystander {self.name}: no answer within {self._answer_seconds:g} s"
            raise SystemExit(message) from None
        if answer != {"n": self.pushes}:
            raise SystemExit(f"bystander {self.name}: {answer} is not the answer")
        self.worst = max(self.worst, time.monotonic() - started)
