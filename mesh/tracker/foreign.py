"""Checks the entries that trackers of other nodes send, before clients receive them. Pure.

A worker may be another implementation. A single entry that JSON cannot express would make `presence_state`
fail for everybody who joins its topic, and `presence_diff` for all its members.
"""

from mesh.app import topics
from mesh.app.presence import MAX_KEY_BYTES
from mesh.errors import MeshError
from mesh.protocol import payloads
from mesh.protocol.serializers import envelope
from mesh.tracker.state import Entry, Meta

MAX_META_BYTES = 20_000
"""Twice what our own workers allow (mesh/worker/presence/metas.py), to have room for `phx_ref`s."""


def flaw(entry: Entry) -> str | None:
    """Return why an entry cannot be sent to clients; None if it can."""
    try:
        topics.check(entry.topic)
    except MeshError as error:
        return str(error)
    if len(entry.key.encode()) > MAX_KEY_BYTES:
        return f"a key of more than {MAX_KEY_BYTES} bytes"
    return meta_flaw(entry.meta)


def meta_flaw(meta: Meta) -> str | None:
    """Return why a value is not a usable meta; None if it is."""
    try:
        data = payloads.encode_lossless(meta)
        if len(data) > MAX_META_BYTES:
            return f"a meta of {len(data)} bytes; at most {MAX_META_BYTES} are accepted"
        envelope.check_payload(data, meta)
    except MeshError as error:
        return f"a meta that is not an object of JSON values: {error}"
    return None
