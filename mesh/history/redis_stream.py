"""How the history of a topic is stored in a Redis stream. Pure.

Each topic has one stream. An entry's ID is `<offset>-0`, its fields are those of Entry, the epoch, and the
`run` of the server: an id that Redis changes when it restarts. The stream of a new epoch begins with the
entry `0-1`, which has only the epoch and the run. Scripts change a stream in one step, so that two workers
that open a topic agree on its epoch, and only one of two that append gives an offset. Every script uses one
key, as Redis Cluster requires.
"""

from collections.abc import Mapping, Sequence

from mesh.app.history import History
from mesh.errors import HistoryUnavailableError, MeshError
from mesh.history.contract import MAX_OFFSET, Entry, Head
from mesh.telemetry.bounded_text import shorten

MARKS = 8
"""A stream has at most about 1/MARKS more bytes than its limit: that is how much is removed at a time."""

_FIELDS = """
local function field(fields, name)
  for i = 1, #fields, 2 do
    if fields[i] == name then return fields[i + 1] end
  end
end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
"""
_BEGIN = """
redis.call('DEL', KEYS[1])
redis.call('XADD', KEYS[1], '0-1', 'epoch', ARGV[1], 'run', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {'0-1', ARGV[1]}
"""

OPEN = (
    _FIELDS
    + """
if last then
  local epoch, run = field(last[2], 'epoch'), field(last[2], 'run')
  if not epoch or not run then return {last[1], ''} end
  local offset = tonumber(string.match(last[1], '^%d+'))
  local lost = run ~= ARGV[2] and ARGV[4] == '0' or epoch == ARGV[5] and offset < tonumber(ARGV[6])
  if not lost then return {last[1], epoch} end
end
"""
    + _BEGIN
)
"""Returns the newest ID and its epoch; begins the given epoch if there is none, or if entries were lost."""

FORGET = (
    """
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'stream' and kind ~= 'none' then
  return redis.error_reply('WRONGTYPE a ' .. kind .. ', not a stream')
end
"""
    + _BEGIN
)
"""Begins the given epoch."""

APPEND = (
    _FIELDS
    + """
if not last or field(last[2], 'epoch') ~= ARGV[1] then return 0 end
local offset = tonumber(string.match(last[1], '^%d+'))
for i = 5, #ARGV, 7 do
  offset = offset + 1
  if tonumber(ARGV[i]) ~= offset then return 0 end
end
for i = 5, #ARGV, 7 do
  redis.call('XADD', KEYS[1], ARGV[i] .. '-0', 'epoch', ARGV[1], 'run', ARGV[2], 'event', ARGV[i + 1],
    'codec', ARGV[i + 2], 'data', ARGV[i + 3], 'origin', ARGV[i + 4], 'sequence', ARGV[i + 5],
    'at', ARGV[i + 6])
end
redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""
)
"""Appends entries if they follow the newest one of their epoch: returns 1, otherwise 0."""

Argument = str | bytes | int | float
Fields = Mapping[bytes, bytes]


class ForeignEntryError(MeshError):
    """A stream has an entry that Channelmesh did not write."""


def open_arguments(epoch: str, milliseconds: int, run: str, trusted: bool, known: Head) -> list[Argument]:
    """Return the arguments of OPEN.

    Args:
        epoch: the epoch to begin if there is none.
        milliseconds: how long the stream lives without another entry.
        run: the run of the server.
        trusted: whether a server that has restarted still has every entry.
        known: a position that was stored; entries were lost if the stream is behind it.
    """
    return [epoch, run, milliseconds, int(trusted), known.epoch, known.offset]


def append_arguments(
    epoch: str, milliseconds: int, run: str, first: int, entries: Sequence[Entry]
) -> list[Argument]:
    """Return the arguments of APPEND; entries below the offset `first` may be removed."""
    arguments: list[Argument] = [epoch, run, milliseconds, f"{first}-0"]
    for each in entries:
        arguments += (each.offset, each.event, each.codec, each.data, each.origin, each.sequence, each.at)
    return arguments


def head(id: bytes, epoch: bytes) -> Head:
    """Return the position of a stream whose newest entry has this ID. Raises ForeignEntryError."""
    try:
        if epoch:
            return Head(epoch.decode("ascii"), _offset(id))
    except ValueError:
        pass
    raise ForeignEntryError(id.decode(errors="replace"))


def decoded(id: bytes, fields: Fields) -> Entry:
    """Return an entry of a stream. Raises ForeignEntryError."""
    try:
        return Entry(
            _offset(id),
            fields[b"event"].decode(),
            int(fields[b"codec"]),
            fields[b"data"],
            fields[b"origin"].decode(),
            int(fields[b"sequence"]),
            float(fields[b"at"]),
        )
    except (KeyError, ValueError):
        raise ForeignEntryError(id.decode(errors="replace")) from None


def _offset(id: bytes) -> int:
    """Return the offset of an ID. Raises ValueError if it is not `<offset>-0`, or `0-1`."""
    offset, _, number = id.partition(b"-")
    if (number != b"0" and id != b"0-1") or int(offset) > MAX_OFFSET:
        raise ValueError(id)
    return int(offset)


def not_a_stream(key: str) -> HistoryUnavailableError:
    """Return the error for a key that holds something else."""
    return HistoryUnavailableError(
        f"the key {shorten(key)!r} in Redis does not hold a stream: delete it, or change"
        " history.redis_prefix"
    )


def foreign(key: str, error: ForeignEntryError) -> HistoryUnavailableError:
    """Return the error for a stream with an entry of another program."""
    return HistoryUnavailableError(
        f"the stream {shorten(key)!r} in Redis has an entry that Channelmesh did not write, {error}:"
        " delete the key, or change history.redis_prefix"
    )


class Marks:
    """Tells below which offset the entries of a stream exceed its limits.

    It remembers a few offsets that were appended here, and how many bytes had been appended by then.
    """

    __slots__ = ("_bytes", "_history", "_marks")

    def __init__(self, history: History) -> None:
        self._history = history
        self._bytes = 0
        self._marks: list[tuple[int, int, float]] = []  # few: a deque would need ten times the memory

    def add(self, entries: Sequence[Entry], now: float) -> int:
        """Add appended entries; return the first offset that must be kept. `now` is in Unix seconds."""
        history, marks = self._history, self._marks
        bytes_apart, seconds_apart = history.bytes / MARKS, history.seconds / MARKS
        for each in entries:
            self._bytes += len(each.data)
            _, bytes_then, at_then = marks[-1] if marks else (0, 0, 0.0)
            if self._bytes - bytes_then >= bytes_apart or each.at - at_then >= seconds_apart:
                marks.append((each.offset, self._bytes, each.at))
        first = entries[-1].offset - history.messages + 1
        while marks and (self._bytes - marks[0][1] > history.bytes or marks[0][2] < now - history.seconds):
            first = max(first, marks.pop(0)[0] + 1)
        return max(1, first)
