"""Gives what a replaced recorder has recorded last to its successor, which records what it has not heard.

Only the broadcasts of this worker's own channels: all others reach the successor as originals. They keep
their origin and sequence, so that the successor knows which of them it has recorded already.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from mesh import contexts
from mesh.bus.calls import Calls
from mesh.errors import WireError
from mesh.history import messages
from mesh.history.contract import Entry
from mesh.history.messages import Returned

PIECE_BYTES = 256_000
RETURN_SECONDS = 5.0


class Returns:
    """What one worker returns.

    Args:
        calls: reaches the successors.
        publish: publishes a broadcast again whose successor is gone as well.
    """

    def __init__(self, calls: Calls, publish: Callable[[str, Entry], None]) -> None:
        self._calls = calls
        self._publish = publish
        self._tasks: set[asyncio.Task[None]] = set()

    def give(self, successor: str, topic: str, entries: Sequence[Entry]) -> None:
        """Return broadcasts of a topic to its new recorder."""
        task = asyncio.get_running_loop().create_task(
            self._give(successor, topic, entries), name="history returns", context=contexts.fresh()
        )
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()

    async def _give(self, successor: str, topic: str, entries: Sequence[Entry]) -> None:
        for piece in _in_pieces(entries):
            data = messages.encode(Returned(topic, piece))
            try:
                await self._calls.call(successor, messages.RETURN, data, RETURN_SECONDS)
            except (TimeoutError, WireError):
                for entry in piece:
                    self._publish(topic, entry)


def _in_pieces(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += len(entry.data)
        if size > PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
