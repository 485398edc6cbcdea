"""What the trackers of other nodes say is there is looked at before anybody is shown it. Pure.

Not every worker is ours. One entry that cannot be JSON would take `presence_state` from everybody who joins
its topic, and `presence_diff` from all who are on it.
"""

from mesh import payloads, topics
from mesh.errors import MeshError
from mesh.presence import MAX_KEY_BYTES
from mesh.serializers import envelope
from mesh.tracker.state import Entry, Meta

MAX_META_BYTES = 20_000
"""Ours have half of that at the most (mesh/worker/presence/metas.py), beside their `phx_ref`s."""


def flaw(entry: Entry) -> str | None:
    """Why an entry cannot be shown to anybody; None if it can."""
    try:
        topics.check(entry.topic)
    except MeshError as error:
        return str(error)
    if len(entry.key.encode()) > MAX_KEY_BYTES:
        return f"a key of more than {MAX_KEY_BYTES} bytes"
    return meta_flaw(entry.meta)


def meta_flaw(meta: Meta) -> str | None:
    """Why this is no meta; None if it is one."""
    try:
        data = payloads.plain(meta)
        if len(data) > MAX_META_BYTES:
            return f"a meta of {len(data)} bytes; at most {MAX_META_BYTES} are taken"
        envelope.check_payload(data, meta)
    except MeshError as error:
        return f"a meta that is no object of JSON values: {error}"
    return None
