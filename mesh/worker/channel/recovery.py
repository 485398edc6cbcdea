"""What a client missed: the request in its join, and the answer behind the reply to the join.

A client asks with the key `history` of the join's payload (docs/protocol.md §1.5). The worker sends
HistoryState, and the missed broadcasts in Missed; the gateway delivers them before the broadcasts that it
holds for the channel.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from mesh.app.history import History
from mesh.errors import ChannelError
from mesh.history.contract import MAX_EPOCH_CHARACTERS, MAX_OFFSET, Entry, Page, Query
from mesh.link import commands
from mesh.link.commands import MissedBroadcast
from mesh.telemetry import counters, get_logger
from mesh.worker.channel.context import WorkerContext

log = get_logger(__name__)

MISSED_BYTES = 256_000
"""The bytes of payloads in one Missed command."""


class Request(NamedTuple):
    """What a client asks for: what came after a position, the last broadcasts, or nothing but positions."""

    epoch: str | None = None
    offset: int | None = None
    last: int = 0


class Recovering(Protocol):
    """What the recovery needs from a channel's server."""

    @property
    def context(self) -> WorkerContext:
        """What the channel can do."""

    @property
    def intercepts(self) -> frozenset[str]:
        """The events whose broadcasts reach the client through handle_out only."""


def request_of(payload: Any) -> Request | None:
    """Return what the payload of a join asks for; None if it does not ask.

    Raises:
        ChannelError: for a malformed request; the message is for the client.
    """
    asked = payload.get("history") if isinstance(payload, dict) else None
    if asked is None:
        return None
    if not isinstance(asked, dict):
        raise ChannelError(f"history is {asked!r:.100}; want an object")
    epoch, offset, last = asked.get("epoch"), asked.get("offset"), asked.get("last")
    if (epoch is None) != (offset is None):
        raise ChannelError("history has only one of epoch and offset; want both")
    if epoch is None:
        if last is not None and (type(last) is not int or last < 1):
            raise ChannelError(f"history.last is {last!r:.100}; want an integer of at least 1")
        return Request(last=last or 0)
    if last is not None:
        raise ChannelError("history has last beside epoch and offset; want either")
    if not isinstance(epoch, str) or len(epoch) > MAX_EPOCH_CHARACTERS:
        raise ChannelError(
            f"history.epoch is {epoch!r:.100}; want a string of at most {MAX_EPOCH_CHARACTERS} characters"
        )
    if type(offset) is not int or not 0 <= offset <= MAX_OFFSET:
        raise ChannelError(f"history.offset is {offset!r:.100}; want an integer from 0 to {MAX_OFFSET}")
    return Request(epoch, offset)


def query_of(request: Request, topic: str, history: History) -> Query:
    """Return the query for what a client asks for."""
    if history.cached:
        return Query(topic, limit=1)
    if request.epoch is not None:
        return Query(topic, request.epoch, request.offset)
    return Query(topic, limit=min(request.last, history.messages))


def precedes_reply(request: Request) -> bool:
    """Return whether the history must be read before the join is answered.

    The last broadcasts are counted back from the position that is read. If more were recorded after the
    reply and before that, the client would miss some.
    """
    return request.last > 0


def recover(server: Recovering, request: Request, page: Page, history: History, max_bytes: int) -> None:
    """Send a joined client the position of its topic, and what it asks for.

    Args:
        server: the channel's server.
        request: what the client asks for.
        page: the answer to its query.
        history: the limits of the topic.
        max_bytes: the most bytes that are sent (`worker.max_recovery_bytes`). Of the last broadcasts, only
            the newest are sent then; a client that has missed more has not recovered.
    """
    topic = server.context.topic
    recovered = _is_recovered(request, page, history)
    missed = [each for each in page.entries if each.event not in server.intercepts] if recovered else []
    if history.cached:
        missed = [each for each in missed if (page.epoch, each.offset) != (request.epoch, request.offset)]
    fitting = _fitting(missed, max_bytes)
    if request.epoch is not None and not history.cached and fitting < len(missed):
        recovered, fitting = False, 0
    missed = missed[len(missed) - fitting :]
    counters.count("history_recoveries" if recovered else "history_recoveries_failed")
    if not recovered:
        fields = {"topic": topic, "asked": request._asdict(), "epoch": page.epoch, "offset": page.offset}
        log.debug("a client is told that its history is not complete", **fields)
    fresh = recovered and request == Request() and not history.cached
    _send(server.context, page, recovered, missed, fresh)


def _is_recovered(request: Request, page: Page, history: History) -> bool:
    """Return whether the client certainly receives everything that it asked for."""
    if not page.epoch:
        return False
    if request.epoch is None:
        return True
    if history.cached:  # only the last value counts
        return bool(page.entries) or (page.epoch, page.offset) == (request.epoch, request.offset)
    return page.complete


def _fitting(missed: list[Entry], max_bytes: int) -> int:
    """Return how many of the newest broadcasts fit; at least the last one."""
    size = number = 0
    for each in reversed(missed):
        size += len(each.data) + len(each.event)
        if number and size > max_bytes:
            break
        number += 1
    return number


def _send(context: WorkerContext, page: Page, recovered: bool, missed: list[Entry], fresh: bool) -> None:
    state = commands.HistoryState(context.number, page.epoch, page.offset, recovered, len(missed), fresh)
    context.send_command(state)
    for piece in _in_pieces(missed):
        context.send_command(commands.Missed(context.number, piece))


def _in_pieces(missed: list[Entry]) -> Iterator[list[MissedBroadcast]]:
    piece: list[MissedBroadcast] = []
    size = 0
    for each in missed:
        piece.append(MissedBroadcast(each.offset, each.event, each.codec, each.data))
        size += len(each.data)
        if size > MISSED_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
