"""What a meta may contain, and the copies of metas that applications receive."""

from itertools import chain, repeat

from mesh.errors import DecodeError, PayloadError
from mesh.protocol import payloads
from mesh.protocol.messages import MSGPACK
from mesh.protocol.serializers import envelope
from mesh.tracker import messages
from mesh.tracker.state import Meta

MAX_META_BYTES = 10_000
_NESTED = frozenset({dict, list})


def validated(meta: Meta) -> Meta:
    """Return the meta as every replica will have it: plain JSON values that msgpack can express.

    Raises:
        PayloadError: if it is not an object of such values, or has more than 10,000 bytes.
    """
    codec, data = payloads.encode_object(meta)
    if len(data) > MAX_META_BYTES:
        raise PayloadError(
            f"a meta of {len(data)} bytes; every worker keeps it, so at most {MAX_META_BYTES} are allowed"
        )
    plain: Meta = payloads.decode(codec, data)
    try:
        envelope.check_payload(data, plain)
        messages.encode(plain)  # workers exchange msgpack, which does not have all integers of JSON
    except (DecodeError, *messages.UNENCODABLE) as error:
        raise PayloadError(f"a meta that cannot be sent to other workers: {error}") from None
    return plain


def copy_meta(meta: Meta) -> Meta:
    """Return a copy that the application may change. The original is what this worker sends to the others.

    Lists and objects in it must be copy_meta too; encoding it as msgpack and decoding it does that at any
    depth.
    """
    copy = meta.copy()
    if not _NESTED.isdisjoint(map(type, meta.values())):
        for key, value in meta.items():
            if type(value) in _NESTED:
                copy[key] = payloads.decode(MSGPACK, messages.encode(value))
    return copy


def copy_metas_by_key(keys: dict[str, list[Meta]]) -> dict[str, list[Meta]]:
    """Return copies of the metas of each key.

    Every join of a topic usually lists its presences, so this loops in C: if no meta contains a list or an
    object, no Python code runs for each member.
    """
    values = chain.from_iterable(map(dict.values, chain.from_iterable(keys.values())))
    copy = dict.copy if _NESTED.isdisjoint(map(type, values)) else copy_meta
    return dict(zip(keys, map(list, map(map, repeat(copy), keys.values())), strict=True))
